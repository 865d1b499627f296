package importd_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"berth/fixtures/faultserver"
	"berth/images"
	"berth/importd"
)

// An image of another form must not be left to hide the one that replaces it.
func TestForceReplacesOtherForm(t *testing.T) {
	h := newHost(t)
	if err := h.do(importd.Request{Kind: importd.ImportTar, Local: "a", File: temp(t, tree(t))}); err != nil {
		t.Fatal(err)
	}
	r := importd.Request{Kind: importd.ImportRaw, Local: "a", File: temp(t, noise(5000))}
	if err := h.do(r); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("a disk beside a tree: %v", err)
	}
	r.Force, r.File = true, temp(t, noise(5000))
	if err := h.do(r); err != nil {
		t.Fatal(err)
	}
	if got := h.entries(); !slices.Equal(got, []string{"a.raw"}) {
		t.Errorf("the image root has %q", got)
	}
}

// A machine that runs from an image holds its lock, and must not lose its root
// to a transfer.
func TestForceSparesImageInUse(t *testing.T) {
	h := newHost(t)
	// The image root may be elsewhere.
	elsewhere := h.root + ".real"
	if err := os.MkdirAll(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, h.root); err != nil {
		t.Fatal(err)
	}
	if err := h.do(importd.Request{Kind: importd.ImportTar, Local: "a", File: temp(t, tree(t))}); err != nil {
		t.Fatal(err)
	}
	image, err := h.store.Find(t.Context(), images.ClassMachine, "a")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := h.store.LockImage(image, true)
	if err != nil {
		t.Fatal(err)
	}
	again := importd.Request{Kind: importd.ImportTar, Local: "a", Force: true, File: temp(t, tree(t, noise(10)))}
	if err := h.do(again); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("image in use was replaced: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again.File = temp(t, tree(t, noise(10)))
	if err := h.do(again); err != nil {
		t.Errorf("image that is free again: %v", err)
	}
	if got := h.entries(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the image root has %q", got)
	}
}

// A host may have images elsewhere too. The worker cannot look there once it is
// confined, and has no need to: it replaces what is in the image root.
func TestForceBesideOtherImageDirectories(t *testing.T) {
	h := newHost(t)
	machines := h.config.Locations.Search[images.ClassMachine]
	for _, dir := range machines {
		if err := os.MkdirAll(filepath.Join(dir, "a"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(h.root, "a")); err != nil {
		t.Fatal(err)
	}
	first := importd.Request{Kind: importd.ImportTar, Local: "a", File: temp(t, tree(t))}
	if err := h.do(first); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("a name that is taken elsewhere: %v", err)
	}
	server := faultserver.Start(t)
	server.Set("/a.tar", faultserver.Answer{Body: tree(t, []byte("pulled"))})
	pull := pullTar(server.URL("/a.tar"))
	pull.Local, pull.Force, pull.KeepDownload = "a", true, true
	for range 2 {
		first.Force, first.File = true, temp(t, tree(t, []byte("imported")))
		if err := h.do(first); err != nil {
			t.Errorf("import: %v", err)
		}
		if got := h.read("a", "usr/payload0"); got != "imported" {
			t.Errorf("the image has %q", got)
		}
		if err := h.do(pull); err != nil {
			t.Errorf("pull: %v", err)
		}
		if got := h.read("a", "usr/payload0"); got != "pulled" {
			t.Errorf("the image has %q", got)
		}
	}
	for _, dir := range machines {
		left, err := os.ReadDir(filepath.Join(dir, "a"))
		if err != nil || dir != h.root && len(left) > 0 {
			t.Errorf("%s/a has %v, %v", dir, left, err)
		}
	}
}
