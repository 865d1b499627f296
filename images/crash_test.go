package images_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/fixtures/killat"
	"berth/fixtures/loopfs"
	"berth/images"
)

// crashRoot names, in a child, the tree that it works on.
const crashRoot = "BERTH_TEST_CRASH_ROOT"

// crashCase is an operation that is killed at each of its steps.
type crashCase struct {
	name    string
	prepare func(t *testing.T, s *images.Store, root string)
	run     func(ctx context.Context, s *images.Store, pool string) error
	// listed are the sets of images that may be seen after a crash.
	listed []string
}

func crashCases() []crashCase {
	seed := func(t *testing.T, _ *images.Store, root string) {
		put(t, root, "var/lib/machines/tree/etc/os-release", "var/lib/machines/tree/bin/x", "var/lib/machines/disk.raw")
	}
	find := func(ctx context.Context, s *images.Store, name string, do func(images.Image) error) error {
		img, err := s.Find(ctx, images.ClassMachine, name)
		if err != nil {
			return err
		}
		return do(img)
	}
	commit := func(ctx context.Context, pool, name string, replace bool) error {
		p, err := images.NewPendingTree(pool)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(p.Path(), "etc"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.Path(), "etc/os-release"), nil, 0o644); err != nil {
			return err
		}
		return p.Commit(ctx, name, images.CommitOptions{Replace: replace, ReadOnly: true, Sync: true})
	}
	return []crashCase{
		{"commit", seed, func(ctx context.Context, _ *images.Store, pool string) error {
			return commit(ctx, pool, "new", false)
		}, []string{"disk tree", "disk new tree"}},
		{"replace", seed, func(ctx context.Context, _ *images.Store, pool string) error {
			return commit(ctx, pool, "tree", true)
		}, []string{"disk tree"}},
		{"clone tree", seed, func(ctx context.Context, s *images.Store, _ string) error {
			return find(ctx, s, "tree", func(i images.Image) error { return s.Clone(ctx, i, "new", images.CloneOptions{ReadOnly: true}) })
		}, []string{"disk tree", "disk new tree"}},
		{"clone disk", seed, func(ctx context.Context, s *images.Store, _ string) error {
			return find(ctx, s, "disk", func(i images.Image) error { return s.Clone(ctx, i, "new", images.CloneOptions{ReadOnly: true}) })
		}, []string{"disk tree", "disk new tree"}},
		{"rename", seed, func(ctx context.Context, s *images.Store, _ string) error {
			return find(ctx, s, "tree", func(i images.Image) error { return s.Rename(ctx, i, "new") })
		}, []string{"disk tree", "disk new"}},
		{"remove tree", seed, func(ctx context.Context, s *images.Store, _ string) error {
			return find(ctx, s, "tree", func(i images.Image) error { return s.Remove(ctx, i) })
		}, []string{"disk tree", "disk"}},
		{"remove disk", seed, func(ctx context.Context, s *images.Store, _ string) error {
			return find(ctx, s, "disk", func(i images.Image) error { return s.Remove(ctx, i) })
		}, []string{"disk tree", "tree"}},
	}
}

func crashStore(root string) (*images.Store, string) {
	places := images.SystemLocations(root)
	places.Host = false
	return images.NewStore(places), places.Pool[images.ClassMachine]
}

// TestCrashChild is the child of TestCrash and nothing by itself.
func TestCrashChild(t *testing.T) {
	root := os.Getenv(crashRoot)
	if root == "" {
		t.Skip("only runs as a child of TestCrash")
	}
	store, pool := crashStore(root)
	name := os.Getenv("BERTH_TEST_CRASH_CASE")
	for _, c := range crashCases() {
		if c.name == name {
			killat.Mark()
			check(t, c.run(t.Context(), store, pool))
		}
	}
}

// TestCrash kills a process before each system call that changes something, and
// holds what is left to be whole images and what a sweep takes.
func TestCrash(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loop filesystems and the immutable flag need root")
	}
	for _, kind := range []string{"ext4", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			mount := loopfs.Mount(t, kind, loopfs.MinXFS)
			for _, c := range crashCases() {
				t.Run(c.name, func(t *testing.T) { crashEverywhere(t, mount, c) })
			}
		})
	}
}

func crashEverywhere(t *testing.T, mount string, c crashCase) {
	for nth := 1; ; nth++ {
		root := filepath.Join(mount, fmt.Sprintf("%s-%d", strings.ReplaceAll(c.name, " ", "-"), nth))
		store, pool := crashStore(root)
		c.prepare(t, store, root)
		env := append(os.Environ(), crashRoot+"="+root, "BERTH_TEST_CRASH_CASE="+c.name)
		killed := killat.Run(t, killat.OnDisk(), env, nth, "-test.run=^TestCrashChild$")
		holdAfterCrash(t, store, pool, c, nth)
		if !killed {
			t.Logf("%d steps", nth-1)
			if nth < 5 {
				t.Error("too few steps: the child is not traced")
			}
			return
		}
	}
}

func holdAfterCrash(t *testing.T, store *images.Store, pool string, c crashCase, nth int) {
	t.Helper()
	before := holdListing(t, store, c, nth)
	sweep(t, pool, 0)
	if after := holdListing(t, store, c, nth); after != before {
		t.Errorf("killed at step %d: the sweep turned %q into %q", nth, before, after)
	}
	left, err := filepath.Glob(filepath.Join(pool, ".#*"))
	check(t, err)
	if len(left) > 0 {
		t.Errorf("killed at step %d: left after the sweep: %q", nth, left)
	}
	// Whatever was interrupted, the store works on.
	if _, err := store.Clean(t.Context(), images.ClassMachine, images.CleanAll); err != nil {
		t.Errorf("killed at step %d: clean: %v", nth, err)
	}
	if list, err := store.List(t.Context()); len(list) > 0 || err != nil {
		t.Errorf("killed at step %d: left after clean: %v, %v", nth, list, err)
	}
}

// holdListing holds every listed image to be one that may be there, and whole.
func holdListing(t *testing.T, store *images.Store, c crashCase, nth int) string {
	t.Helper()
	list, err := store.List(t.Context())
	check(t, err)
	var names []string
	for _, img := range list {
		names = append(names, img.Name)
		if img.Type == images.TypeRaw {
			if got, err := os.ReadFile(img.Path); err != nil || string(got) != "var/lib/machines/disk.raw" {
				t.Errorf("killed at step %d: %s is %q, %v", nth, img.Path, got, err)
			}
		} else if _, err := os.Stat(filepath.Join(img.Path, "etc/os-release")); err != nil {
			t.Errorf("killed at step %d: half an image: %v", nth, err)
		}
	}
	all := strings.Join(names, " ")
	if !slices.Contains(c.listed, all) {
		t.Errorf("killed at step %d: listed are %q", nth, all)
	}
	return all
}
