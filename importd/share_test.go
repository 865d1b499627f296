package importd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"berth/fixtures/loopfs"
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
