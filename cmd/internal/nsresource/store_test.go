package nsresource_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/fixtures/ownhost"
	"berth/images"
	"berth/images/foreign"
)

// storeIn is the store of the user's images in a directory.
func storeIn(t *testing.T, dir string) *images.Store {
	t.Helper()
	s := images.NewStore(images.Locations{
		Search: map[images.Class][]string{images.ClassMachine: {dir}}, Pool: map[images.Class]string{images.ClassMachine: dir},
		Locks: t.TempDir(),
	})
	s.UseForeign(foreign.NewUser(client()))
	return s
}

// leftover is the name of what a worker that died has left.
const leftover = ".#tar0123456789abcdef"

// TestForeignStore: whose files belong to others can be listed, copied, renamed, removed and swept all the same, on each
// file system, and keeps all owners and attributes.
func TestForeignStore(t *testing.T) {
	for kind, place := range fileSystems() {
		t.Run(kind, func(t *testing.T) {
			var want, wantRenamed map[string]inode
			prepare := func(dir string) {
				for _, name := range []string{"image", "other", leftover, "stack.mstack/layer@0"} {
					plant(t, filepath.Join(dir, name))
				}
				must(t, os.Chown(filepath.Join(dir, "stack.mstack"), ownhost.User, ownhost.User))
				want, wantRenamed = contents(t, filepath.Join(dir, "image")), contents(t, filepath.Join(dir, "other"))
			}
			after := func(dir string) {
				if diff := cmp.Diff(want, contents(t, filepath.Join(dir, "copy")), cmp.AllowUnexported(inode{})); diff != "" {
					t.Errorf("the copy differs (-image +copy):\n%s", diff)
				}
				for _, name := range []string{"image", leftover, "stack.mstack"} {
					if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("%s is still there: %v", name, err)
					}
				}
				if diff := cmp.Diff(wantRenamed, contents(t, filepath.Join(dir, "renamed")), cmp.AllowUnexported(inode{})); diff != "" {
					t.Errorf("what was only renamed differs:\n%s", diff)
				}
			}
			if withServices(t, place, prepare, after) {
				changeStore(t, os.Getenv(placeVariable))
			}
		})
	}
}

func changeStore(t *testing.T, dir string) {
	ctx, s := t.Context(), storeIn(t, dir)
	if _, err := os.ReadFile(filepath.Join(dir, "image/etc/shadow")); !errors.Is(err, os.ErrPermission) {
		t.Errorf("the test shows nothing: %v", err)
	}
	must(t, s.Clone(ctx, find(t, s, "image"), "copy", images.CloneOptions{}))
	must(t, s.Remove(ctx, find(t, s, "image")))
	must(t, s.Rename(ctx, find(t, s, "other"), "renamed"))
	must(t, s.Remove(ctx, find(t, s, "stack")))
	removed, err := images.Sweep(ctx, dir, images.SweepOptions{Foreign: foreign.NewUser(client())})
	if err != nil || len(removed) != 1 || removed[0] != leftover {
		t.Errorf("swept %q, %v", removed, err)
	}
	all, err := s.List(ctx)
	if err != nil || len(all) != 2 || all[0].Name != "copy" || all[1].Name != "renamed" {
		t.Errorf("what is left: %v, %v", all, err)
	}
}

func find(t *testing.T, s *images.Store, name string) images.Image {
	t.Helper()
	i, err := s.Find(t.Context(), images.ClassMachine, name)
	must(t, err)
	return i
}

// TestForeignWithoutServices: nothing is half done, and the error says what is missing.
func TestForeignWithoutServices(t *testing.T) {
	prepare := func(dir string) { plant(t, filepath.Join(dir, "image")) }
	if !withServices(t, tmpfs, prepare, nil) {
		return
	}
	dir := os.Getenv(placeVariable)
	s := images.NewStore(storeIn(t, dir).Locations())
	image := find(t, s, "image")
	for what, err := range map[string]error{
		"clone":  s.Clone(t.Context(), image, "copy", images.CloneOptions{}),
		"remove": s.Remove(t.Context(), image),
	} {
		if !errors.Is(err, foreign.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	find(t, s, "image")
}

// TestForeignCopyIsCanceled: a copy ends with its context, and leaves nothing.
func TestForeignCopyIsCanceled(t *testing.T) {
	prepare := func(dir string) { plant(t, filepath.Join(dir, "image")) }
	if !withServices(t, tmpfs, prepare, nil) {
		return
	}
	s := storeIn(t, os.Getenv(placeVariable))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Clone(ctx, find(t, s, "image"), "copy", images.CloneOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a copy whose context has ended: %v", err)
	}
	removed, err := images.Sweep(t.Context(), os.Getenv(placeVariable), images.SweepOptions{})
	if err != nil || len(removed) != 0 {
		t.Errorf("left behind: %q, %v", removed, err)
	}
}
