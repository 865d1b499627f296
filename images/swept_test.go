package images_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"berth/images"

	"golang.org/x/sys/unix"
)

// Image directories are open to everybody, and so are their locks: whoever holds that
// of one must not keep anybody waiting.
func TestLockOfADirectoryKeepsNobody(t *testing.T) {
	root := t.TempDir()
	dead := filepath.Join(root, ".#tar0123456789abcdef")
	if err := os.Mkdir(dead, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		removed, err := images.Sweep(t.Context(), root, images.SweepOptions{})
		if err != nil || len(removed) != 1 {
			t.Errorf("swept %q, %v", removed, err)
		}
		p, err := images.NewPendingTree(root)
		if err != nil {
			t.Error(err)
			return
		}
		if err := p.Discard(); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("somebody waits for the lock of the directory")
	}
}

// What a sweep takes before it is locked is made again: nobody gets an image that is
// no longer there.
func TestSweepsBesideWriters(t *testing.T) {
	root := t.TempDir()
	var writers, sweepers sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		sweepers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if _, err := images.Sweep(t.Context(), root, images.SweepOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, make := range []func(string) (*images.Pending, error){images.NewPendingTree, images.NewPendingFile} {
		writers.Go(func() {
			for range 300 {
				p, err := make(root)
				if err != nil {
					t.Error(err)
					return
				}
				mine, err := p.File().Stat()
				there, lookErr := os.Lstat(p.Path())
				if err != nil || lookErr != nil || !os.SameFile(mine, there) {
					t.Errorf("what was made is gone: %v, %v", err, lookErr)
				}
				if err := p.Discard(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(over)
	sweepers.Wait()
}
