package importd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"berth/fixtures/loopfs"
	"berth/images"
	"berth/importd"

	"golang.org/x/sys/unix"
)

// A disk on the file system of the images is not copied where blocks can be shared,
// neither on its way in nor out.
func TestDisksShareBlocks(t *testing.T) {
	const size = 64 << 20
	disk := noise(size)
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			root := loopfs.Mount(t, kind, 400)
			h := newHost(t)
			source := filepath.Join(root, "source")
			if err := os.WriteFile(source, disk, 0o600); err != nil {
				t.Fatal(err)
			}
			before := free(t, root)
			for i, r := range []importd.Request{
				{Kind: importd.ImportRaw, Local: "one", ImageRoot: root},
				{Kind: importd.ImportRaw, Local: "two", ImageRoot: root, KeepQcow2: true},
			} {
				var err error
				if r.File, err = os.Open(source); err != nil {
					t.Fatal(err)
				}
				if err := h.do(r); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(filepath.Join(root, r.Local+".raw")); err != nil || !bytes.Equal(got, disk) {
					t.Errorf("image %d is another, %v", i, err)
				}
			}
			out, err := os.Create(filepath.Join(root, "out"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(root, "one.raw"), filepath.Join(h.prepared(), "one.raw")); err != nil {
				t.Fatal(err)
			}
			if err := h.do(importd.Request{Kind: importd.ExportRaw, Local: "one", File: out}); err != nil {
				t.Fatal(err)
			}
			if used := before - free(t, root); used > size/2 {
				t.Errorf("three disks of %d bytes that are there already take %d", size, used)
			}
		})
	}
}

// A direct import leaves nothing of what its target held, where blocks are shared too.
func TestSharedBlocksReplaceAll(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 400)
	h := newHost(t)
	source, target := filepath.Join(root, "source"), filepath.Join(root, "target")
	disk := noise(1 << 20)
	if err := errors.Join(os.WriteFile(source, disk, 0o600), os.WriteFile(target, noise(2<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	r := importd.Request{Kind: importd.ImportRaw, Class: images.ClassMachine, Direct: &importd.Direct{Path: target}, File: f}
	if err := errors.Join(importd.Do(t.Context(), h.config, r, func(importd.Event) {}), f.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, disk) {
		t.Errorf("a disk of %d bytes became one of %d, %v", len(disk), len(got), err)
	}
}

// A subvolume becomes an image by a snapshot, which has the same inodes, and is not
// written to when the source is.
func TestImportOfASubvolume(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 400)
	h := newHost(t)
	parent, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close() //nolint:errcheck // only looked at
	if err := images.MakeTree(parent, "source", false); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(root, "source")
	file := filepath.Join(source, "usr", "file")
	for range 200 { // numbers that no copy comes to
		gone := filepath.Join(source, "gone")
		err = errors.Join(err, os.WriteFile(gone, nil, 0o600), os.Remove(gone))
	}
	err = errors.Join(err, os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("old"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	for local, plain := range map[string]bool{"snapshot": false, "copy": true} {
		h.config.NoSubvolumes = plain
		dir, err := os.Open(source)
		if err != nil {
			t.Fatal(err)
		}
		r := importd.Request{Kind: importd.ImportFS, Class: images.ClassMachine, Local: local, ImageRoot: root, File: dir}
		if err := errors.Join(importd.Do(t.Context(), h.config, r, func(importd.Event) {}), dir.Close()); err != nil {
			t.Fatal(err)
		}
		was, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		is, err := os.Stat(filepath.Join(root, local, "usr", "file"))
		if err != nil {
			t.Fatal(err)
		}
		if same := is.Sys().(*syscall.Stat_t).Ino == was.Sys().(*syscall.Stat_t).Ino; same == plain {
			t.Errorf("%s: has the inodes of the source: %v", local, same)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "snapshot", "usr", "file"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "old" {
		t.Errorf("the source has %q, %v", text, err)
	}
}

// free is how many bytes are left once all is written.
func free(t *testing.T, dir string) int64 {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only looked at
	var st unix.Statfs_t
	if err := errors.Join(unix.Syncfs(int(f.Fd())), unix.Fstatfs(int(f.Fd()), &st)); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}
