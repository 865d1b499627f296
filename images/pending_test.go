package images_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/images"
)

func sweep(t *testing.T, root string, age time.Duration) []string {
	t.Helper()
	removed, err := images.Sweep(t.Context(), root, images.SweepOptions{SpoolAge: age})
	check(t, err)
	return removed
}

func TestPending(t *testing.T) {
	root := filepath.Join(t.TempDir(), "made/on/the/way")
	tree, err := images.NewPendingTree(root)
	check(t, err)
	file, err := images.NewPendingFile(root)
	check(t, err)
	put(t, tree.Path(), "etc/os-release")
	for path, want := range map[string]os.FileMode{tree.Path(): 0o755, file.Path(): 0o644, root: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s: %v, %v", path, info.Mode(), err)
		}
	}
	if got := sweep(t, root, 0); got != nil {
		t.Errorf("living images were swept: %q", got)
	}
	for _, bad := range []string{"", "..", "a/b", ".#raw0123456789abcdef", "a\n"} {
		if err := tree.Commit(t.Context(), bad, images.CommitOptions{Replace: true}); !errors.Is(err, images.ErrInvalidName) {
			t.Errorf("commit as %q: %v", bad, err)
		}
	}
	check(t, tree.Commit(t.Context(), "tree", images.CommitOptions{Sync: true}))
	check(t, file.Commit(t.Context(), "disk.raw", images.CommitOptions{Sync: true, ReadOnly: true}))
	check(t, tree.Discard())
	if err := tree.Commit(t.Context(), "again", images.CommitOptions{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second commit: %v", err)
	}
	if info, err := os.Stat(filepath.Join(root, "disk.raw")); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("read-only file: %v, %v", info.Mode(), err)
	}
	gone, err := images.NewPendingTree(root)
	check(t, err)
	put(t, gone.Path(), "a/b/c")
	check(t, gone.Discard())
	check(t, gone.Discard())
	if got := ls(t, root); !slices.Equal(got, []string{"disk.raw", "tree"}) {
		t.Errorf("left are %q", got)
	}
}

func ls(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestPendingReplace puts each kind in the place of each other.
func TestPendingReplace(t *testing.T) {
	olds := map[string]func(path string){
		"nothing":    func(string) {},
		"file":       func(p string) { put(t, filepath.Dir(p), filepath.Base(p)) },
		"empty tree": func(p string) { put(t, filepath.Dir(p), filepath.Base(p)+"/") },
		"tree":       func(p string) { put(t, p, "a/b") },
		"link":       func(p string) { check(t, os.Symlink("/etc/passwd", p)) },
	}
	for name, make := range olds {
		for _, kind := range []string{"tree", "file"} {
			root := t.TempDir()
			make(filepath.Join(root, "x"))
			p, err := images.NewPendingFile(root)
			if kind == "tree" {
				check(t, p.Discard())
				p, err = images.NewPendingTree(root)
			}
			check(t, err)
			check(t, p.Commit(t.Context(), "x", images.CommitOptions{Replace: true}))
			info, err := os.Lstat(filepath.Join(root, "x"))
			if err != nil || info.IsDir() != (kind == "tree") || !info.IsDir() && !info.Mode().IsRegular() {
				t.Errorf("%s over %s: %v, %v", kind, name, info, err)
			}
			if got := ls(t, root); len(got) != 1 {
				t.Errorf("%s over %s left %q", kind, name, got)
			}
		}
	}
}

// TestPendingInherited ends the writer while a child still has the file.
func TestPendingInherited(t *testing.T) {
	root := t.TempDir()
	p, err := images.NewPendingTree(root)
	check(t, err)
	cat := exec.CommandContext(t.Context(), "cat")
	cat.ExtraFiles = []*os.File{p.File()}
	in, err := cat.StdinPipe()
	check(t, err)
	check(t, cat.Start())
	check(t, p.File().Close())
	if got := sweep(t, root, 0); got != nil {
		t.Errorf("swept under a living child: %q", got)
	}
	check(t, in.Close())
	check(t, cat.Wait())
	if got := sweep(t, root, 0); len(got) != 1 {
		t.Errorf("swept after its end: %q", got)
	}
}

func TestSweep(t *testing.T) {
	root := t.TempDir()
	old := []string{".#raw0123456789abcdef", ".#remove0123456789abcdef/x", ".#tar0123456789abcdef/a/b", ".#spool-old"}
	put(t, root, old...)
	put(t, root, ".#raw0123456789abcdeX", ".#raw0123456789abcde", ".#other0123456789abcdef", ".tar-x/", "image/", ".#spool-new", ".#spool-held", ".#x.lck")
	check(t, os.Symlink("image", filepath.Join(root, ".#tarffffffffffffffff")))
	week := time.Now().Add(-images.SpoolAge - time.Minute)
	for _, spool := range []string{".#spool-old", ".#spool-held"} {
		check(t, os.Chtimes(filepath.Join(root, spool), week, week))
	}
	held, err := os.Open(filepath.Join(root, ".#spool-held"))
	check(t, err)
	defer held.Close()
	check(t, unix.Flock(int(held.Fd()), unix.LOCK_EX))
	locked, err := os.OpenFile(filepath.Join(root, ".#y.lck"), os.O_RDWR|os.O_CREATE, 0o600)
	check(t, err)
	defer locked.Close()
	check(t, unix.FcntlFlock(locked.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
	if got := sweep(t, root, images.SpoolAge); !slices.Equal(got, []string{
		".#x.lck", ".#raw0123456789abcdef", ".#remove0123456789abcdef", ".#spool-old", ".#tar0123456789abcdef",
	}) {
		t.Errorf("swept %q", got)
	}
	if got := sweep(t, root, 0); !slices.Equal(got, []string{".#spool-new"}) {
		t.Errorf("then swept %q", got)
	}
	if got := sweep(t, filepath.Join(root, "missing"), 0); got != nil {
		t.Errorf("a missing directory: %q", got)
	}
}

// TestSweepBesideWriters sweeps all the time while images are made.
func TestSweepBesideWriters(t *testing.T) {
	root := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var sweeper, writers sync.WaitGroup
	sweeper.Go(func() {
		for ctx.Err() == nil {
			if _, err := images.Sweep(context.WithoutCancel(ctx), root, images.SweepOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		writers.Go(func() {
			for range 100 {
				p, err := images.NewPendingTree(root)
				if err != nil {
					t.Error(err)
					return
				}
				name := filepath.Base(p.Path())[2:]
				if err := p.Commit(ctx, name, images.CommitOptions{}); err != nil {
					t.Error(err)
				}
				if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
					t.Errorf("swept from under a writer: %v", err)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	sweeper.Wait()
	if got := ls(t, root); len(got) != 400 {
		t.Errorf("%d of 400 images", len(got))
	}
}

// TestCloneRace makes sure that of many clones to one name one wins.
func TestCloneRace(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/src.raw")
	src, err := store.Find(t.Context(), images.ClassMachine, "src")
	check(t, err)
	results := make(chan error)
	for range 16 {
		go func() { results <- store.Clone(t.Context(), src, "new", images.CloneOptions{}) }()
	}
	won := 0
	for range 16 {
		err := <-results
		if err == nil {
			won++
		} else if !errors.Is(err, images.ErrBusy) && !errors.Is(err, images.ErrExists) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d clones to one name", won)
	}
	if got := ls(t, filepath.Join(root, "var/lib/machines")); !slices.Equal(got, []string{"new.raw", "src.raw"}) {
		t.Errorf("left are %q", got)
	}
}
