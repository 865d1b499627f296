package nsenter

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine that plants links to the host's users, or what cannot be read to an
// end, has no users but its root.
func TestPlantedUsers(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(outside, []byte(passwdText), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(path string) error{
		"absolute": func(p string) error { return os.Symlink(outside, p) },
		"relative": func(p string) error { return os.Symlink(strings.Repeat("../", 20)+outside, p) },
		"proc":     func(p string) error { return os.Symlink("/proc/self/root"+outside, p) },
		"fifo":     func(p string) error { return unix.Mkfifo(p, 0o644) },
		"loop":     func(p string) error { return os.Symlink("passwd", p) },
		"endless":  func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o644), os.Truncate(p, 1<<40)) },
	} {
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "etc"), 0o755), plant(filepath.Join(dir, "etc/passwd"))); err != nil {
			t.Fatal(err)
		}
		root, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := LookupAccount(root, "alice"); err == nil {
			t.Errorf("%s: %+v IS A USER OF THE HOST", name, got)
		}
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	}
}
