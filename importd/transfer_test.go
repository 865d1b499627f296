package importd_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/faultserver"
	"berth/fixtures/loopfs"
	"berth/images"
	"berth/importd"
	"berth/transfer/compress"

	"golang.org/x/sys/unix"
)

// temp returns a new open file with the given content.
func temp(t *testing.T, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestImportAndExportTar(t *testing.T) {
	h := newHost(t)
	payload := noise(2 << 20)
	if err := h.do(importd.Request{Kind: importd.ImportTar, Local: "a", File: temp(t, gzipped(t, tree(t, payload)))}); err != nil {
		t.Fatal(err)
	}
	if h.read("a", "usr/payload0") != string(payload) {
		t.Error("imported image has other content")
	}
	for _, format := range []compress.Format{compress.None, compress.Gzip, compress.Zstd, compress.XZ, compress.Bzip2} {
		out := temp(t, nil)
		path := out.Name()
		if err := h.do(importd.Request{Kind: importd.ExportTar, Local: "a", Format: format, File: out}); err != nil {
			t.Errorf("export as %s: %v", format, err)
			continue
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.do(importd.Request{Kind: importd.ImportTar, Local: "b", Force: true, File: in}); err != nil {
			t.Errorf("import what was exported as %s: %v", format, err)
		}
		if diff, err := exec.CommandContext(t.Context(), "diff", "-r", filepath.Join(h.root, "a"), filepath.Join(h.root, "b")).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", format, diff)
		}
	}
}

func TestImportAndExportRaw(t *testing.T) {
	h := newHost(t)
	disk := slices.Concat(make([]byte, 4<<20), noise(1<<20), make([]byte, 35))
	if err := h.do(importd.Request{Kind: importd.ImportRaw, Local: "d", File: temp(t, gzipped(t, disk))}); err != nil {
		t.Fatal(err)
	}
	if h.read("d.raw") != string(disk) {
		t.Error("imported disk has other content")
	}
	out := temp(t, nil)
	path := out.Name()
	if err := h.do(importd.Request{Kind: importd.ExportRaw, Local: "d", File: out}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, disk) {
		t.Errorf("exported disk has other content, %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Blocks*512 > int64(len(disk))/2 {
		t.Errorf("exported disk has no holes: %d bytes take %d blocks, %v", len(disk), st.Blocks, err)
	}
	if err := h.do(importd.Request{Kind: importd.ExportTar, Local: "d", File: temp(t, nil)}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("export of a disk as tar: %v", err)
	}
}

// A reader that leaves in the middle of an export is an error with a name.
func TestExportToNobody(t *testing.T) {
	h := newHost(t)
	if err := h.do(importd.Request{Kind: importd.ImportTar, Local: "a", File: temp(t, tree(t, noise(1<<20)))}); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.do(importd.Request{Kind: importd.ExportTar, Local: "a", File: w}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("export to a closed pipe: %v", err)
	}
}

func TestImportQcow2(t *testing.T) {
	qemuImg, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed (Debian package qemu-utils)")
	}
	h := newHost(t)
	disk := slices.Concat(noise(1<<20), make([]byte, 7<<20))
	dir := t.TempDir()
	raw, qcow2 := filepath.Join(dir, "d.raw"), filepath.Join(dir, "d.qcow2")
	if err := os.WriteFile(raw, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), qemuImg, "convert", "-f", "raw", "-O", "qcow2", "-c", raw, qcow2).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	in, err := os.Open(qcow2)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.do(importd.Request{Kind: importd.ImportRaw, Local: "q", File: in}); err != nil {
		t.Fatal(err)
	}
	if h.read("q.raw") != string(disk) {
		t.Error("converted disk has other content")
	}
	if got := h.entries(); !slices.Equal(got, []string{"q.raw"}) {
		t.Errorf("the image root has %q", got)
	}
}

func TestImportFileSystem(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "one/usr/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "one/usr/lib/os-release"), []byte("ID=fs\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.do(importd.Request{Kind: importd.ImportFS, Local: "fs", File: f}); err != nil {
		t.Fatal(err)
	}
	// The tree stood in a directory of its own and was moved up.
	if h.read("fs", "usr/lib/os-release") != "ID=fs\n" {
		t.Errorf("the image has %q", h.entries())
	}
}

// An import from a pipe waits for its writer; its first cancel must end it and
// leave nothing.
func TestCancel(t *testing.T) {
	h := newHost(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	transfer := h.start(importd.Request{Kind: importd.ImportTar, Local: "p", File: r})
	if list := h.manager.List(); len(list) != 1 || list[0].Local != "p" || list[0].Progress >= 0 {
		t.Errorf("listed: %+v", list)
	}
	if _, err := w.Write(tree(t)[:512]); err != nil {
		t.Fatal(err)
	}
	if err := h.manager.Cancel(transfer.ID()); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Err(); !errors.Is(err, importd.ErrCanceled) {
		t.Errorf("canceled transfer: %v", err)
	}
	h.mustBeEmpty()
	if err := h.manager.Cancel(transfer.ID()); !errors.Is(err, importd.ErrNoSuchTransfer) {
		t.Errorf("cancel of a transfer that is over: %v", err)
	}
}

func TestLimits(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	server.Set("/stall.tar", faultserver.Answer{Body: tree(t), Fault: faultserver.Stall, At: 600})
	h.start(pullTar(server.URL("/stall.tar")))
	if _, err := h.manager.Start(pullTar(server.URL("/stall.tar"))); err == nil {
		t.Error("a pull without class was accepted")
	}
	again := pullTar(server.URL("/stall.tar"))
	again.Class = images.ClassMachine
	if _, err := h.manager.Start(again); !errors.Is(err, importd.ErrInProgress) {
		t.Errorf("second pull of a URL: %v", err)
	}
	var writers []io.Closer
	defer func() {
		for _, w := range writers {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	for range importd.MaxTransfers - 1 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
		h.start(importd.Request{Kind: importd.ImportTar, Local: "p", File: r})
	}
	request := importd.Request{Kind: importd.ImportTar, Class: images.ClassMachine, Local: "p", File: temp(t, nil)}
	if _, err := h.manager.Start(request); !errors.Is(err, importd.ErrTooMany) || !errors.Is(err, syscall.E2BIG) {
		t.Errorf("one too many: %v", err)
	}
}

func TestInvalidRequests(t *testing.T) {
	h := newHost(t)
	url := "http://127.0.0.1:1/x.tar"
	for _, name := range []string{"a/b", "..", ".", ".#x", "a\nb", "a\x7f", strings.Repeat("x", 256), "\xff"} {
		var invalid *importd.InvalidError
		_, err := h.manager.Start(importd.Request{Kind: importd.PullTar, Class: images.ClassMachine, Remote: url, Local: name})
		if !errors.As(err, &invalid) || invalid.Field != "local" {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, url := range []string{"", "x", "ftp://h/x.tar", "http:///x.tar", "file:x.tar", "http://h/ä.tar", "http://h/a b.tar", "http://h\n/x"} {
		var invalid *importd.InvalidError
		_, err := h.manager.Start(importd.Request{Kind: importd.PullTar, Class: images.ClassMachine, Remote: url, Local: "x"})
		if !errors.As(err, &invalid) || invalid.Field != "remote" {
			t.Errorf("URL %q: %v", url, err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	var invalid *importd.InvalidError
	_, err = h.manager.Start(importd.Request{Kind: importd.ImportTar, Class: images.ClassMachine, Local: "x", File: null})
	if !errors.As(err, &invalid) || invalid.Field != "fileDescriptor" {
		t.Errorf("import of a device: %v", err)
	}
	_, err = h.manager.Start(importd.Request{Kind: importd.ImportFS, Class: images.ClassMachine, Local: "x", File: temp(t, nil)})
	if !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("import of a file as a tree: %v", err)
	}
}

// A full disk must be told as what it is, with the place where to make room.
func TestDiskFull(t *testing.T) {
	small := loopfs.Mount(t, "ext4", 16)
	server := faultserver.Start(t)
	server.Set("/big.tar", faultserver.Answer{Body: tree(t, noise(32<<20)), ETag: `"1"`, Ranges: faultserver.RangesOn})
	server.Set("/big.raw", faultserver.Answer{Body: noise(32 << 20), ETag: `"1"`, Ranges: faultserver.RangesOn})
	h := newHost(t)
	for _, r := range []importd.Request{
		{Kind: importd.PullTar, Remote: server.URL("/big.tar")},
		{Kind: importd.PullRaw, Remote: server.URL("/big.raw")},
	} {
		r.Verify, r.ImageRoot = importd.VerifyNo, small
		err := h.do(r)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), small) || strings.Contains(err.Error(), "http:") {
			t.Errorf("%s: %v", r.Kind, err)
		}
		left, err := os.ReadDir(small)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			if e.Name() != "lost+found" {
				t.Errorf("%s left %q", r.Kind, e.Name())
			}
		}
	}
}

// On every file system images are made, replaced and kept with the rights that
// a caged worker has there.
func TestFileSystems(t *testing.T) {
	server := faultserver.Start(t)
	server.Set("/foo.tar", faultserver.Answer{Body: tree(t, noise(100_000)), ETag: `"1"`})
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			root := loopfs.Mount(t, kind, 400)
			h := newHost(t)
			r := pullTar(server.URL("/foo.tar"))
			r.ImageRoot, r.KeepDownload, r.Force, r.ReadOnly = root, true, true, true
			for range 2 {
				if err := h.do(r); err != nil {
					t.Fatal(err)
				}
			}
			found, err := filepath.Glob(filepath.Join(root, "*foo*"))
			if err != nil || len(found) != 2 {
				t.Errorf("the image root has %q, %v", found, err)
			}
			locations := images.SystemLocations(t.TempDir())
			locations.Pool[images.ClassMachine], locations.Host = root, false
			locations.Search = map[images.Class][]string{images.ClassMachine: {root}}
			if _, err := images.NewStore(locations).Clean(t.Context(), images.ClassMachine, images.CleanAll); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestImportOfNothing(t *testing.T) {
	h := newHost(t)
	err := h.do(importd.Request{Kind: importd.ImportTar, Local: "z", File: temp(t, make([]byte, 1<<20))})
	if err == nil || !strings.Contains(err.Error(), "no entries") {
		t.Errorf("a megabyte of zeros: %v", err)
	}
	h.mustBeEmpty()
}
