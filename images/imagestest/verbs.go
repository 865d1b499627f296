package imagestest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/images"
)

func wantNames(t *testing.T, f *fixture, want ...string) {
	t.Helper()
	if got := f.names(); !slices.Equal(got, want) {
		t.Errorf("listed are %q, want %q", got, want)
	}
}

func testFacts(t *testing.T, f *fixture) {
	wantNames(t, f, "one")
	img := f.find("one")
	if img.ReadOnly || img.Hidden() || img.Vendor() || img.Host() {
		t.Errorf("marks of %+v", img)
	}
	if img.Created.IsZero() {
		t.Error("no creation time")
	}
	if filepath.Dir(img.Path) != f.pool || img.Path != img.Entry {
		t.Errorf("path %s, entry %s", img.Path, img.Entry)
	}
	_, err := f.store.Find(t.Context(), images.ClassMachine, filepath.Base(img.Path)+".raw")
	wants(t, err, images.ErrNotFound)
	_, err = f.store.Find(t.Context(), images.ClassPortable, "one")
	wants(t, err, images.ErrNotFound)
}

func testClone(t *testing.T, f *fixture) {
	must(t, f.store.Clone(t.Context(), f.find("one"), "two", images.CloneOptions{}))
	wantNames(t, f, "one", "two")
	two := f.find("two")
	if two.ReadOnly {
		t.Error("the clone is read-only")
	}
	wantContent(t, two)
	if f.Type == images.TypeRaw && !two.Created.Equal(f.find("one").Created) {
		one := f.find("one").Created
		if d := two.Created.Sub(one).Abs(); d.Microseconds() > 1 {
			t.Errorf("created %v, the original %v", two.Created, one)
		}
	}
	wants(t, f.store.Clone(t.Context(), two, "one", images.CloneOptions{}), images.ErrExists)
	for _, bad := range []string{"", "..", "a/b", ".#tar", "new\n", "x.v", "x.mstack"} {
		if f.Type == images.TypeRaw && (bad == "x.v" || bad == "x.mstack") {
			continue
		}
		wants(t, f.store.Clone(t.Context(), two, bad, images.CloneOptions{}), images.ErrInvalidName)
	}
	must(t, f.store.Remove(t.Context(), f.find("one")))
	wants(t, f.store.Clone(t.Context(), images.Image{Name: "one", Class: images.ClassMachine, Type: two.Type, Path: filepath.Join(f.pool, "gone")}, "x", images.CloneOptions{}), os.ErrNotExist)
	wantNames(t, f, "two")
	wantContent(t, two)
}

// wantContent holds the image to have what Make put there.
func wantContent(t *testing.T, img images.Image) {
	t.Helper()
	path, want := img.Path, "disk"
	if img.Type != images.TypeRaw {
		path, want = filepath.Join(img.Path, "usr/lib/os-release"), "ID=test\n"
	}
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

func testCloneReadOnly(t *testing.T, f *fixture) {
	must(t, f.store.Clone(t.Context(), f.find("one"), "two", images.CloneOptions{ReadOnly: true}))
	if !f.find("two").ReadOnly {
		t.Error("the clone is writable")
	}
	must(t, f.store.Clone(t.Context(), f.find("two"), "three", images.CloneOptions{}))
	three := f.find("three")
	if three.ReadOnly {
		t.Error("the clone of a read-only image is read-only")
	}
	wantContent(t, three)
}

func testRename(t *testing.T, f *fixture) {
	f.Make(t, f.pool, "other")
	one := f.find("one")
	wants(t, f.store.Rename(t.Context(), one, "other"), images.ErrExists)
	wants(t, f.store.Rename(t.Context(), one, ".#x"), images.ErrInvalidName)
	must(t, f.store.Rename(t.Context(), one, "new"))
	wantNames(t, f, "new", "other")
	wantContent(t, f.find("new"))
	wants(t, f.store.Rename(t.Context(), one, "newer"), images.ErrNotFound)
	wants(t, f.store.Remove(t.Context(), one), images.ErrNotFound)
}

func testRenameReadOnly(t *testing.T, f *fixture) {
	must(t, f.store.SetReadOnly(t.Context(), f.find("one"), true))
	must(t, f.store.Rename(t.Context(), f.find("one"), "new"))
	if !f.find("new").ReadOnly {
		t.Error("the mark was lost")
	}
	f.Make(t, f.pool, "one")
	wants(t, f.store.Rename(t.Context(), f.find("new"), "one"), images.ErrExists)
	if !f.find("new").ReadOnly {
		t.Error("the mark was lost by a rename that failed")
	}
}

func testRemove(t *testing.T, f *fixture) {
	must(t, f.store.Clone(t.Context(), f.find("one"), "two", images.CloneOptions{ReadOnly: true}))
	must(t, f.store.Remove(t.Context(), f.find("two")))
	must(t, f.store.Remove(t.Context(), f.find("one")))
	wantNames(t, f)
}

func testReadOnly(t *testing.T, f *fixture) {
	must(t, f.store.SetReadOnly(t.Context(), f.find("one"), true))
	must(t, f.store.SetReadOnly(t.Context(), f.find("one"), true))
	if !f.find("one").ReadOnly {
		t.Error("not marked read-only")
	}
	must(t, f.store.SetReadOnly(t.Context(), f.find("one"), false))
	if f.find("one").ReadOnly {
		t.Error("still marked read-only")
	}
}
