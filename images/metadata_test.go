package images_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/images"
)

func metadata(t *testing.T, store *images.Store, name string) images.Metadata {
	t.Helper()
	img, err := store.Find(t.Context(), images.ClassMachine, name)
	check(t, err)
	data, err := store.Metadata(t.Context(), img)
	check(t, err)
	return data
}

func TestMetadata(t *testing.T) {
	store, root := hostTree(t)
	tree := filepath.Join(root, "var/lib/machines/tree")
	put(t, tree, "etc/", "usr/lib/os-release")
	for file, text := range map[string]string{
		"etc/hostname":       "# who\n vm \n",
		"etc/machine-id":     "71db6128bb984f5d9415fb008e595b26\n",
		"etc/machine-info":   "ICON_NAME=x\n",
		"usr/lib/os-release": "ID=debian\nNAME=\"Debian GNU/Linux\"\n",
	} {
		check(t, os.WriteFile(filepath.Join(tree, file), []byte(text), 0o644))
	}
	// Absolute, as systemd ships it: it is resolved inside the image.
	check(t, os.Symlink("/usr/lib/os-release", filepath.Join(tree, "etc/os-release")))
	want := images.Metadata{
		Hostname:    "vm",
		MachineID:   [16]byte{0x71, 0xdb, 0x61, 0x28, 0xbb, 0x98, 0x4f, 0x5d, 0x94, 0x15, 0xfb, 0x00, 0x8e, 0x59, 0x5b, 0x26},
		MachineInfo: []images.KeyValue{{Key: "ICON_NAME", Value: "x"}},
		OSRelease:   []images.KeyValue{{Key: "ID", Value: "debian"}, {Key: "NAME", Value: "Debian GNU/Linux"}},
	}
	if diff := cmp.Diff(want, metadata(t, store, "tree")); diff != "" {
		t.Error(diff)
	}
}

// TestMetadataStaysInside plants what would leak a file of the host, hang the
// daemon or fill its memory.
func TestMetadataStaysInside(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "secret")
	secret := filepath.Join(root, "secret")
	check(t, os.WriteFile(secret, []byte("ID=LEAK\n"), 0o644))
	for name, plant := range map[string]func(path string) error{
		"absolute": func(p string) error { return os.Symlink(secret, p) },
		"relative": func(p string) error { return os.Symlink("../../../../../../../../../../../.."+secret, p) },
		"proc":     func(p string) error { return os.Symlink("/proc/self/root"+secret, p) },
		"fifo":     func(p string) error { return unix.Mkfifo(p, 0o644) },
		"dir":      func(p string) error { return os.Mkdir(p, 0o755) },
		"loop":     func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"huge":     func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("LEAK=1\n", 10000)), 0o644) },
		"sparse": func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o644), os.Truncate(p, 1<<40))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := filepath.Join(root, "var/lib/machines", name)
			put(t, tree, "etc/")
			for _, file := range []string{"os-release", "hostname", "machine-id", "machine-info"} {
				check(t, plant(filepath.Join(tree, "etc", file)))
			}
			if diff := cmp.Diff(images.Metadata{}, metadata(t, store, name)); diff != "" {
				t.Errorf("HOST DATA LEAKED OR BOUND MISSED: %s", diff)
			}
		})
	}
	t.Run("directory swapped for a link", func(t *testing.T) {
		tree := filepath.Join(root, "var/lib/machines/swapped")
		put(t, tree, "x/")
		put(t, root, "hostetc/os-release")
		check(t, os.Symlink(filepath.Join(root, "hostetc"), filepath.Join(tree, "etc")))
		if diff := cmp.Diff(images.Metadata{}, metadata(t, store, "swapped")); diff != "" {
			t.Errorf("HOST DATA LEAKED: %s", diff)
		}
	})
}

func TestMangleTree(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		moved bool
		top   string // an entry that is at the top afterwards
	}{
		{"an OS tree", []string{"etc/os-release"}, false, "etc"},
		{"one directory around it", []string{"rootfs/usr/lib/os-release", "rootfs/bin/"}, true, "bin"},
		{"its name again inside", []string{"etc/etc/os-release", "etc/bin/"}, true, "bin"},
		{"two entries", []string{"rootfs/etc/os-release", "other/"}, false, "rootfs"},
		{"no OS inside", []string{"rootfs/etc/"}, false, "rootfs"},
		{"two levels", []string{"a/b/etc/os-release"}, false, "a"},
		{"one file", []string{"file"}, false, "file"},
		{"nothing", nil, false, "."},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := t.TempDir()
			put(t, tree, c.files...)
			if c.moved {
				check(t, os.Chmod(filepath.Join(tree, strings.Split(c.files[0], "/")[0]), 0o711))
			}
			dir, err := os.Open(tree)
			check(t, err)
			defer dir.Close()
			moved, err := images.MangleTree(t.Context(), dir)
			if err != nil || moved != c.moved {
				t.Fatalf("moved %v, %v", moved, err)
			}
			if _, err := os.Stat(filepath.Join(tree, c.top)); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(tree); err != nil || c.moved && info.Mode().Perm() != 0o711 {
				t.Errorf("mode of the top: %v, %v", info.Mode(), err)
			}
			if left, _ := filepath.Glob(filepath.Join(tree, ".#*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
	t.Run("a link to a tree", func(t *testing.T) {
		tree, host := t.TempDir(), t.TempDir()
		put(t, host, "etc/os-release")
		check(t, os.Symlink(host, filepath.Join(tree, "rootfs")))
		dir, err := os.Open(tree)
		check(t, err)
		defer dir.Close()
		if moved, err := images.MangleTree(t.Context(), dir); moved || err != nil {
			t.Errorf("moved %v, %v", moved, err)
		}
		if _, err := os.Stat(filepath.Join(host, "etc/os-release")); err != nil {
			t.Error("HOST PATH WAS CHANGED")
		}
	})
}

// diskReader stands in for one that mounts.
type diskReader struct {
	files map[string][]byte
	err   error
	read  []byte // what the last disk began with
}

func (r *diskReader) Read(_ context.Context, disk *os.File, _ ...string) (map[string][]byte, error) {
	r.read = make([]byte, 4)
	_, _ = disk.ReadAt(r.read, 0) // nothing was read then
	return r.files, r.err
}

func TestMetadataOfDisks(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/stack.mstack/")
	path := filepath.Join(root, "var/lib/machines/disk.raw")
	check(t, os.WriteFile(path, []byte("disk"), 0o644))
	img, err := store.Find(t.Context(), images.ClassMachine, "disk")
	check(t, err)
	if _, err := store.Metadata(t.Context(), img); !errors.Is(err, images.ErrNotSupported) {
		t.Errorf("without a reader: %v", err)
	}
	reader := &diskReader{files: map[string][]byte{"etc/hostname": []byte("vm\n"), "usr/lib/os-release": []byte("ID=x\n")}}
	store.ReadDisks(reader)
	want := images.Metadata{Hostname: "vm", OSRelease: []images.KeyValue{{Key: "ID", Value: "x"}}}
	if diff := cmp.Diff(want, metadata(t, store, "disk")); diff != "" || string(reader.read) != "disk" {
		t.Errorf("read %q: %s", reader.read, diff)
	}
	// An empty os-release is one; that of the vendor does not count then.
	reader.files["etc/os-release"] = nil
	if got := metadata(t, store, "disk"); len(got.OSRelease) != 0 {
		t.Errorf("OS release %v", got.OSRelease)
	}
	// A disk in use changes under who mounts it.
	lock, err := store.LockImage(img, true)
	check(t, err)
	if _, err := store.Metadata(t.Context(), img); !errors.Is(err, images.ErrBusy) {
		t.Errorf("in use: %v", err)
	}
	check(t, lock.Release())
	reader.err = images.ErrNotSupported
	if _, err := store.Metadata(t.Context(), img); !errors.Is(err, images.ErrNotSupported) {
		t.Errorf("unreadable: %v", err)
	}
	check(t, os.Remove(path))
	if _, err := store.Metadata(t.Context(), img); !errors.Is(err, images.ErrNotFound) {
		t.Errorf("gone: %v", err)
	}
	img, err = store.Find(t.Context(), images.ClassMachine, "stack")
	check(t, err)
	if _, err := store.Metadata(t.Context(), img); !errors.Is(err, images.ErrNotSupported) {
		t.Errorf("mount stack: %v", err)
	}
}
