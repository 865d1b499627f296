package importd_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/fixtures/loopfs"
	"berth/images"
	"berth/importd"

	"golang.org/x/sys/unix"
)

// stack makes a mount stack of files of the given paths and contents; a path that ends
// in a slash is a directory, a content of "whiteout" or "opaque" hides what is below.
func (h *host) stack(name string, files map[string]string) {
	h.t.Helper()
	for path, content := range files {
		at := filepath.Join(h.prepared(), name+".mstack", path)
		dir := filepath.Dir(at)
		if strings.HasSuffix(path, "/") {
			dir = at
		}
		err := os.MkdirAll(dir, 0o755)
		switch {
		case err != nil:
		case content == "opaque":
			err = unix.Setxattr(dir, "user.overlay.opaque", []byte("y"), 0)
		case content == "whiteout":
			err = unix.Mknod(at, unix.S_IFCHR, 0)
		case dir != at:
			err = os.WriteFile(at, []byte(content), 0o644)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// onLoop has the images of a host on a file system that takes every attribute.
func onLoop(t *testing.T) *host {
	t.Helper()
	root := loopfs.Mount(t, "ext4", 50)
	h := newHost(t)
	if err := os.MkdirAll(filepath.Dir(h.root), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, h.root); err != nil {
		t.Fatal(err)
	}
	return h
}

// A mount stack is exported as the tree that a machine finds in it.
func TestExportMountStack(t *testing.T) {
	h := onLoop(t)
	h.stack("s", map[string]string{
		"layer@2/etc/os-release": "ID=two\n", "layer@2/kept": "2", "layer@2/dir/old": "2", "layer@2/gone": "2",
		"layer@10/etc/os-release": "ID=ten\n", "layer@10/gone": "whiteout", "layer@10/dir/": "opaque", "layer@10/dir/new": "10",
		"rw/data/written": "rw", "rw/work/": "",
	})
	h.stack("one", map[string]string{"layer@0/only": "0"})
	for name, want := range map[string]string{
		"s":   "./ ./dir/ ./dir/new ./etc/ ./etc/os-release ./kept ./written",
		"one": "./ ./only",
	} {
		out := temp(t, nil)
		path := out.Name()
		if err := h.do(importd.Request{Kind: importd.ExportTar, Local: name, File: out}); err != nil {
			if errors.Is(err, unix.ENODEV) {
				t.Skip("the kernel has no overlay file system")
			}
			t.Fatal(err)
		}
		list, err := exec.CommandContext(t.Context(), "tar", "-tf", path).CombinedOutput()
		if got := strings.Join(strings.Fields(string(list)), " "); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
		if name != "s" {
			continue
		}
		release, err := exec.CommandContext(t.Context(), "tar", "-xOf", path, "./etc/os-release").CombinedOutput()
		if err != nil || string(release) != "ID=ten\n" {
			t.Errorf("the release is that of another layer: %q, %v", release, err)
		}
	}
}

func TestMountStacksThatCannotBeExported(t *testing.T) {
	h := onLoop(t)
	h.stack("empty", map[string]string{"rw/": ""})
	h.stack("disk", map[string]string{"layer@0.raw": "x"})
	h.stack("rooted", map[string]string{"root/etc/": "", "layer@0/etc/": ""})
	for name, want := range map[string]error{
		"empty": images.ErrNotFound, "disk": images.ErrNotSupported, "rooted": images.ErrNotSupported,
	} {
		image, err := h.store.Find(t.Context(), images.ClassMachine, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := image.Layers(); !errors.Is(err, want) {
			t.Errorf("layers of %s: %v, want %v", name, err, want)
		}
		if err := h.do(importd.Request{Kind: importd.ExportTar, Local: name, File: temp(t, nil)}); err == nil {
			t.Errorf("%s was exported", name)
		}
	}
	if err := h.do(importd.Request{Kind: importd.ExportRaw, Local: "rooted", File: temp(t, nil)}); !errors.Is(err, unix.EISDIR) {
		t.Errorf("as a disk: %v", err)
	}
}
