// Package imagestest is the one conformance suite for types of images and the
// file systems they lie on.
package imagestest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"berth/images"
)

// Subject is a type of image that can be made on a file system.
type Subject struct {
	Type images.Type
	// Make makes an image of that type in the pool.
	Make func(t *testing.T, pool, name string)
}

// Subjects returns the types that need no more than a file system; subvolumes
// where that is btrfs.
func Subjects(subvolumes bool) []Subject {
	tree := func(t *testing.T, pool, name string) {
		t.Helper()
		p, err := images.NewPendingTree(pool)
		must(t, err)
		fill(t, p.Path())
		must(t, p.Commit(t.Context(), name, images.CommitOptions{}))
	}
	all := []Subject{
		{images.TypeRaw, func(t *testing.T, pool, name string) {
			t.Helper()
			p, err := images.NewPendingFile(pool)
			must(t, err)
			_, err = p.File().Write([]byte("disk"))
			must(t, err)
			must(t, p.Commit(t.Context(), name+".raw", images.CommitOptions{}))
		}},
	}
	if subvolumes {
		all = append(all, Subject{images.TypeSubvolume, tree})
	}
	return append(all, Subject{images.TypeDirectory, func(t *testing.T, pool, name string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Join(pool, name), 0o755))
		fill(t, filepath.Join(pool, name))
	}})
}

func fill(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, "usr/lib"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "usr/lib/os-release"), []byte("ID=test\n"), 0o644))
}

// Run runs the suite for one type of image; newRoot gives each test the root of
// a tree of [images.SystemLocations] that is removed afterwards.
func Run(t *testing.T, newRoot func(t *testing.T) string, s Subject) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"facts", testFacts},
		{"clone", testClone},
		{"clone of a read-only image", testCloneReadOnly},
		{"rename", testRename},
		{"rename of a read-only image", testRenameReadOnly},
		{"remove", testRemove},
		{"read-only", testReadOnly},
		{"auxiliary files", testAuxiliary},
		{"locks", testLocks},
		{"replace", testReplace},
	} {
		t.Run(c.name, func(t *testing.T) {
			places := images.SystemLocations(newRoot(t))
			places.Host = false
			f := &fixture{t: t, Subject: s, store: images.NewStore(places), pool: places.Pool[images.ClassMachine], places: places}
			f.Make(t, f.pool, "one")
			c.run(t, f)
			f.cleanUp()
		})
	}
}

type fixture struct {
	Subject
	t      *testing.T
	store  *images.Store
	pool   string
	places images.Locations
}

func (f *fixture) find(name string) images.Image {
	f.t.Helper()
	img, err := f.store.Find(f.t.Context(), images.ClassMachine, name)
	must(f.t, err)
	if img.Type != f.Type && (img.Type != images.TypeSubvolume || f.Type != images.TypeDirectory) {
		f.t.Fatalf("%s is a %s, want %s", name, img.Type, f.Type)
	}
	return img
}

// names lists what the pool shows.
func (f *fixture) names() []string {
	f.t.Helper()
	list, err := f.store.List(f.t.Context(), images.ClassMachine)
	must(f.t, err)
	out := []string{}
	for _, img := range list {
		out = append(out, img.Name)
	}
	return out
}

// cleanUp removes every image and holds the pool to be empty after it.
func (f *fixture) cleanUp() {
	f.t.Helper()
	if _, err := f.store.Clean(f.t.Context(), images.ClassMachine, images.CleanAll); err != nil {
		f.t.Error(err)
	}
	left, err := os.ReadDir(f.pool)
	must(f.t, err)
	for _, e := range left {
		f.t.Errorf("left in the pool: %s", e.Name())
	}
	locks, err := os.ReadDir(f.places.Locks)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.t.Error(err)
	}
	for _, e := range locks {
		f.t.Errorf("left lock: %s", e.Name())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}
