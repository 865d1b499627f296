package importd

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A target that was made and then cannot be opened is taken away like one that
// could not be filled.
func TestTargetThatCannotBeOpened(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to do without what root may")
	}
	path := filepath.Join(t.TempDir(), "target")
	r := Request{Kind: ImportTar, Direct: &Direct{Path: path}}
	release, err := openTargetBlindly(t, &r)
	if !errors.Is(err, unix.EACCES) {
		t.Errorf("open: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("nothing was made: %v", err)
	}
	if err := release(false); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// openTargetBlindly opens a target as somebody who makes directories that nobody may
// look into, root without its privileges neither.
func openTargetBlindly(t *testing.T, r *Request) (release func(filled bool) error, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Neither privileges nor the mask come back: the thread ends with this.
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			return
		}
		unix.Umask(0o777)
		none := [2]unix.CapUserData{}
		if err = unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			return
		}
		release, err = openTarget(t.Context(), r, &Config{NoSubvolumes: true})
	}()
	<-done
	if release == nil {
		t.Fatal(err)
	}
	return release, err
}
