package images

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestRenameWithoutFlags runs what serves file systems that cannot exchange
// names or refuse to replace.
func TestRenameWithoutFlags(t *testing.T) {
	root, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"old", "new"} {
		if err := os.Mkdir(filepath.Join(root.Name(), name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := renameChecked(int(root.Fd()), "new", "old"); !errors.Is(err, os.ErrExist) {
		t.Errorf("rename to a taken name: %v", err)
	}
	left, err := replaceInTwo(root, "new", "old")
	if err != nil || !tempPattern.MatchString(left) {
		t.Errorf("left %q, %v", left, err)
	}
	if _, err := replaceInTwo(root, "missing", "old"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("replace by nothing: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root.Name(), "old")); err != nil {
		t.Errorf("the old image is lost: %v", err)
	}
	if err := renameChecked(int(root.Fd()), "old", "free"); err != nil {
		t.Error(err)
	}
}
