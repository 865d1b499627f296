package apart

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine that may write the directory can move something of the host's root
// into the place of what was made for it.
func TestOnlyNewEntriesAreGiven(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	path := t.TempDir()
	for name, text := range map[string]string{"new": "", "full": "x"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("full", filepath.Join(path, "link")), os.Mkdir(filepath.Join(path, "dir"), 0o700),
		os.Link(filepath.Join(path, "full"), filepath.Join(path, "twice"))); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, want := range map[string]error{"new": nil, "dir": nil, "full": unix.EBUSY, "twice": unix.EBUSY, "link": unix.EBUSY} {
		if err := giveTo(dir, name, 524288); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(path, name), &st); err != nil || (st.Uid == 524288) != (want == nil) {
			t.Errorf("%s belongs to %d, %v", name, st.Uid, err)
		}
	}
}
