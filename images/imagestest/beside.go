package imagestest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/images"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func wantFile(t *testing.T, path, text string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, text)
	}
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s is still there", path)
	}
}

// testAuxiliary follows settings and auxiliary files through all verbs.
func testAuxiliary(t *testing.T, f *fixture) {
	etc, vendor := f.places.Settings[0], f.places.Settings[2]
	beside := func(name string) string { return filepath.Join(f.pool, name) }
	write(t, beside("one.roothash"), "hash")
	write(t, beside("one.raw.tpmstate/key"), "secret")
	write(t, filepath.Join(etc, "one.nspawn"), "etc")
	write(t, filepath.Join(vendor, "one.nspawn"), "vendor")

	must(t, f.store.Clone(t.Context(), f.find("one"), "two", images.CloneOptions{}))
	wantFile(t, beside("two.roothash"), "hash")
	wantFile(t, beside("two.raw.tpmstate/key"), "secret")
	wantFile(t, filepath.Join(etc, "two.nspawn"), "etc")

	must(t, f.store.Rename(t.Context(), f.find("one"), "new"))
	wantFile(t, beside("new.roothash"), "hash")
	wantGone(t, beside("one.roothash"))
	wantFile(t, filepath.Join(etc, "new.nspawn"), "etc")
	wantFile(t, filepath.Join(vendor, "one.nspawn"), "vendor")

	must(t, f.store.Remove(t.Context(), f.find("new")))
	wantGone(t, beside("new.roothash"))
	wantGone(t, beside("new.raw.tpmstate"))
	wantGone(t, filepath.Join(etc, "new.nspawn"))
	wantFile(t, filepath.Join(vendor, "one.nspawn"), "vendor")
	wantFile(t, beside("two.roothash"), "hash")
}

// testLocks holds each lock and tries what must not be done meanwhile.
func testLocks(t *testing.T, f *fixture) {
	one := f.find("one")
	lock, err := f.store.LockImage(one, true)
	must(t, err)
	err = f.store.Remove(t.Context(), one)
	wants(t, err, images.ErrBusy)
	if !strings.Contains(err.Error(), "another operation of this process") {
		t.Errorf("the error does not say who: %v", err)
	}
	wants(t, f.store.Rename(t.Context(), one, "two"), images.ErrBusy)
	wants(t, f.store.SetReadOnly(t.Context(), one, true), images.ErrBusy)
	// A running machine does not stand in the way of a copy.
	must(t, f.store.Clone(t.Context(), one, "two", images.CloneOptions{}))
	removed, err := f.store.Clean(t.Context(), images.ClassMachine, images.CleanAll)
	must(t, err)
	if len(removed) != 1 || removed[0].Name != "two" {
		t.Errorf("clean removed %v", removed)
	}
	wantNames(t, f, "one")
	must(t, lock.Release())

	name, err := f.store.LockName("two")
	must(t, err)
	wants(t, f.store.Clone(t.Context(), one, "two", images.CloneOptions{}), images.ErrBusy)
	wants(t, f.store.Rename(t.Context(), one, "two"), images.ErrBusy)
	must(t, name.Release())

	shared, err := f.store.LockImage(one, false)
	must(t, err)
	again, err := f.store.LockImage(one, false)
	must(t, err)
	must(t, shared.Release())
	wants(t, f.store.Remove(t.Context(), one), images.ErrBusy)
	must(t, again.Release())
}

// testReplace commits over an image, also over a read-only one.
func testReplace(t *testing.T, f *fixture) {
	for range 2 {
		one := f.find("one")
		p, err := images.NewPendingCopy(t.Context(), f.pool, one.Path, nil)
		must(t, err)
		file := filepath.Base(one.Path)
		wants(t, p.Commit(t.Context(), file, images.CommitOptions{}), images.ErrExists)
		wantNames(t, f, "one")
		must(t, p.Commit(t.Context(), file, images.CommitOptions{Replace: true, ReadOnly: true, Sync: true}))
		must(t, p.Discard())
		wantNames(t, f, "one")
		wantContent(t, f.find("one"))
		if !f.find("one").ReadOnly {
			t.Error("not read-only")
		}
	}
	left, err := filepath.Glob(filepath.Join(f.pool, ".#*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
