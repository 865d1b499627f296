package copytree_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/images/copytree"
)

func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Blocks * 512
}

// makeSparse makes a file of 64 MiB with 8 KiB of data in the middle and a hole at its end.
func makeSparse(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte("data"), 2<<10), 32<<20)
	must(t, err, f.Truncate(64<<20), f.Close())
}

func copyFile(t *testing.T, src, dst string) error {
	t.Helper()
	in, err := os.Open(src)
	must(t, err)
	defer in.Close()
	out, err := os.Create(dst)
	must(t, err)
	defer func() { must(t, out.Close()) }()
	return copytree.CopyFile(t.Context(), in, out, copytree.Options{})
}

func sameContent(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	must(t, err)
	y, err := os.ReadFile(b)
	must(t, err)
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ (%d and %d bytes)", a, b, len(x), len(y))
	}
}

func TestCopyFileKeepsHoles(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := loopfs.Mount(t, kind, loopfs.MinXFS)
			makeSparse(t, dir+"/src")
			must(t, copyFile(t, dir+"/src", dir+"/dst"))
			sameContent(t, dir+"/src", dir+"/dst")
			if got := allocated(t, dir+"/dst"); got > 1<<20 {
				t.Errorf("the copy takes %d bytes", got)
			}
		})
	}
}

func free(t *testing.T, dir string) int64 {
	t.Helper()
	f := openDir(t, dir)
	must(t, unix.Syncfs(int(f.Fd())))
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int64(st.Bfree) * st.Bsize
}

func TestCopyFileShares(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := loopfs.Mount(t, kind, loopfs.MinXFS)
			must(t, os.WriteFile(dir+"/src", bytes.Repeat([]byte("x"), 16<<20), 0o600))
			before := free(t, dir)
			must(t, copyFile(t, dir+"/src", dir+"/dst"))
			sameContent(t, dir+"/src", dir+"/dst")
			if took := before - free(t, dir); took > 4<<20 {
				t.Errorf("a copy of 16 MiB took %d bytes", took)
			}
		})
	}
}

func TestCopyFileSharesWithNoCOW(t *testing.T) {
	dir := loopfs.Mount(t, "btrfs", 128)
	must(t, os.WriteFile(dir+"/src", bytes.Repeat([]byte("x"), 16<<20), 0o600))
	in, err := os.Open(dir + "/src")
	must(t, err)
	defer in.Close()
	out, err := os.Create(dir + "/dst")
	must(t, err)
	defer out.Close()
	before := free(t, dir)
	must(t, copytree.SetNoCOW(out), copytree.CopyFile(t.Context(), in, out, copytree.Options{}))
	sameContent(t, dir+"/src", dir+"/dst")
	if took := before - free(t, dir); took > 4<<20 {
		t.Errorf("a copy of 16 MiB took %d bytes", took)
	}
}

func TestCopyFileDiskFull(t *testing.T) {
	dir := loopfs.Mount(t, "ext4", 32)
	must(t, os.WriteFile(dir+"/src", make([]byte, 20<<20), 0o600))
	if err := copyFile(t, dir+"/src", dir+"/dst"); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("copy without room: %v", err)
	}
}

// From ramfs the kernel does not copy to a disk by itself, and finds no holes.
func TestCopyFilePlain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	ram := mkdir(t, t.TempDir()+"/ram")
	must(t, unix.Mount("berth", ram, "ramfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(ram, 0)) })
	dst := t.TempDir() + "/dst"
	must(t, os.WriteFile(ram+"/src", bytes.Repeat([]byte("0123456789"), 300_001), 0o600), copyFile(t, ram+"/src", dst))
	sameContent(t, ram+"/src", dst)
}

func TestCopyFileEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	makeSparse(t, dir+"/src")
	in, err := os.Open(dir + "/src")
	must(t, err)
	defer in.Close()
	out, err := os.Create(dir + "/dst")
	must(t, err)
	defer out.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := copytree.CopyFile(ctx, in, out, copytree.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled copy: %v", err)
	}
}

func TestCopyFileRefusesOtherKinds(t *testing.T) {
	if err := copyFile(t, "/dev/zero", t.TempDir()+"/dst"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("copy of a device: %v", err)
	}
}
