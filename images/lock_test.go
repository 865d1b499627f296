package images_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"berth/images"
)

// TestLockExcludes takes and drops one lock from many sides at once. Since each
// release removes the file, a taker that does not look whether its file still
// has a name would share the lock with the next.
func TestLockExcludes(t *testing.T) {
	store, _ := hostTree(t)
	var inside, taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for taken.Load() < 300 {
				l, err := store.LockName("x")
				if errors.Is(err, images.ErrBusy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold the exclusive lock")
				}
				for range 50 {
					runtime.Gosched() // gives the others time to come in beside us
				}
				taken.Add(1)
				inside.Add(-1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestLockFiles compares with the names that systemd-nspawn uses, and holds one
// as it would.
func TestLockFiles(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/a/")
	img, err := store.Find(t.Context(), images.ClassMachine, "a")
	check(t, err)
	lock, err := store.LockImage(img, false)
	check(t, err)
	names := ls(t, store.Locations().Locks)
	if len(names) != 1 || !strings.HasPrefix(names[0], "inode-") {
		t.Errorf("locks %q", names)
	}
	beside := filepath.Join(root, "var/lib/machines/.#a.lck")
	if info, err := os.Stat(beside); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	check(t, lock.Release())
	check(t, lock.Release())
	f, err := os.OpenFile(beside, os.O_RDWR|os.O_CREATE, 0o600)
	check(t, err)
	defer f.Close()
	check(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	for _, exclusive := range []bool{true, false} {
		if _, err := store.LockImage(img, exclusive); !errors.Is(err, images.ErrBusy) {
			t.Errorf("exclusive %v: %v", exclusive, err)
		}
	}
	if got := ls(t, store.Locations().Locks); len(got) > 0 {
		t.Errorf("a lock that was refused left %q", got)
	}
}

func TestLocksSwitchedOff(t *testing.T) {
	t.Setenv("SYSTEMD_NSPAWN_LOCK", "0")
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/a/")
	img, err := store.Find(t.Context(), images.ClassMachine, "a")
	check(t, err)
	for range 2 {
		if _, err := store.LockImage(img, true); err != nil {
			t.Error(err)
		}
	}
	name, err := store.LockName("x")
	check(t, err)
	if _, err := store.LockName("x"); !errors.Is(err, images.ErrBusy) {
		t.Errorf("names are still locked: %v", err)
	}
	check(t, name.Release())
}

// TestLinkLeadsElsewhere points the link of an image to another place after the
// image was found.
func TestLinkLeadsElsewhere(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "srv/one.img", "srv/two.img", "var/lib/machines/")
	link := filepath.Join(root, "var/lib/machines/a.raw")
	check(t, os.Symlink(filepath.Join(root, "srv/one.img"), link))
	img, err := store.Find(t.Context(), images.ClassMachine, "a")
	check(t, err)
	check(t, os.Remove(link))
	check(t, os.Symlink(filepath.Join(root, "srv/two.img"), link))
	for _, err := range []error{store.Remove(t.Context(), img), store.SetReadOnly(t.Context(), img, true)} {
		if !errors.Is(err, images.ErrNotFound) {
			t.Errorf("changed what was not asked for: %v", err)
		}
	}
}
