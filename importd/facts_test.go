package importd_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/images"
	"berth/importd"
	"berth/transfer/compress"

	"golang.org/x/sys/unix"
)

const (
	noteXattr   = "user.note"
	digestXattr = "user.berth.sha256"
)

// withFacts makes a file of the given content that is old and has attributes.
func (h *host) withFacts(content []byte) (*os.File, time.Time) {
	h.t.Helper()
	path := filepath.Join(filepath.Dir(filepath.Dir(h.prepared())), "source")
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	err := os.WriteFile(path, content, 0o644)
	if err == nil {
		err = os.Chtimes(path, old, old)
	}
	if err == nil {
		err = unix.Setxattr(path, noteXattr, []byte("kept"), 0)
	}
	if errors.Is(err, unix.ENOTSUP) {
		h.t.Skip("NOT TESTED: needs extended attributes below /var/tmp")
	}
	if err == nil {
		err = unix.Setxattr(path, digestXattr, make([]byte, 64), 0)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return f, old
}

// hasFacts checks a disk that came from such a file.
func hasFacts(t *testing.T, path string, old time.Time) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || !info.ModTime().Equal(old) {
		t.Errorf("%s: it has the time %v, %v", path, info.ModTime(), err)
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(path, noteXattr, value); err != nil || string(value[:n]) != "kept" {
		t.Errorf("%s: its note is %q, %v", path, value, err)
	}
}

// What is known of a disk outlives that it is imported and exported.
func TestDisksKeepTheirFacts(t *testing.T) {
	h := newHost(t)
	f, old := h.withFacts(gzipped(t, noise(1000)))
	if err := h.do(importd.Request{Kind: importd.ImportRaw, Local: "d", File: f}); err != nil {
		t.Fatal(err)
	}
	hasFacts(t, filepath.Join(h.root, "d.raw"), old)
	for _, format := range []compress.Format{compress.None, compress.Gzip} {
		path := filepath.Join(filepath.Dir(h.root), "out-"+string(format))
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.do(importd.Request{Kind: importd.ExportRaw, Local: "d", Format: format, File: out}); err != nil {
			t.Fatal(err)
		}
		hasFacts(t, path, old)
	}
}

// So it does where the disk is put in a file of the caller's choice, but not where it
// becomes a part of one.
func TestDirectImportsKeepFacts(t *testing.T) {
	h := newHost(t)
	f, old := h.withFacts(noise(1000))
	defer f.Close() //nolint:errcheck // only read
	whole, part := filepath.Join(h.prepared(), "whole"), filepath.Join(h.root, "part")
	if err := os.WriteFile(part, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	offset := int64(100)
	for _, d := range []importd.Direct{{Path: whole}, {Path: part, Offset: &offset}} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		r := importd.Request{Kind: importd.ImportRaw, Class: images.ClassMachine, Direct: &d, File: f}
		if err := importd.Do(t.Context(), h.config, r, func(importd.Event) {}); err != nil {
			t.Fatalf("%s: %v", d.Path, err)
		}
	}
	hasFacts(t, whole, old)
	for _, c := range []struct{ path, name string }{{whole, digestXattr}, {part, noteXattr}} {
		if _, err := unix.Getxattr(c.path, c.name, nil); !errors.Is(err, unix.ENODATA) {
			t.Errorf("%s has %s: %v", c.path, c.name, err)
		}
	}
	if info, err := os.Stat(part); err != nil || info.ModTime().Equal(old) {
		t.Errorf("a file of which a part was written has the time of that: %v", err)
	}
}

// An import of any kind cannot say what a download was: it could pass for a copy that
// was kept and has been proved.
func TestImportsAreNoKeptCopies(t *testing.T) {
	h := newHost(t)
	f, _ := h.withFacts(noise(1000))
	dir := filepath.Join(filepath.Dir(h.root), "tree")
	err := os.MkdirAll(filepath.Join(dir, "usr"), 0o755)
	if err == nil {
		err = unix.Setxattr(dir, digestXattr, make([]byte, 64), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]importd.Request{
		".raw-one.raw": {Kind: importd.ImportRaw, Local: ".raw-one", File: f},
		".tar-two":     {Kind: importd.ImportFS, Local: ".tar-two", File: d},
	} {
		if err := h.do(r); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Getxattr(filepath.Join(h.root, name), digestXattr, nil); !errors.Is(err, unix.ENODATA) {
			t.Errorf("%s says what its digest was: %v", name, err)
		}
	}
	if _, err := h.store.List(t.Context(), images.ClassMachine); err != nil {
		t.Error(err)
	}
}
