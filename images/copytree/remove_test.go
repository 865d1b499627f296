package copytree_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/images/btrfs"
	"berth/images/copytree"
)

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}

func TestRemove(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			base := loopfs.Mount(t, kind, loopfs.MinXFS)
			populate(t, mkdir(t, base+"/tree"))
			for i := range 3000 {
				write(t, fmt.Sprintf("%s/tree/many/%d", base, i), "")
			}
			dir := openDir(t, base)
			must(t, copytree.Remove(t.Context(), dir, "tree"))
			gone(t, base+"/tree")
			must(t, copytree.Remove(t.Context(), dir, "tree"))
			write(t, base+"/single", "")
			must(t, copytree.Remove(t.Context(), dir, "single"))
			gone(t, base+"/single")
		})
	}
}

func TestRemoveRefusesNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/in/file", "")
	for _, name := range []string{"", ".", ".."} {
		if err := copytree.Remove(t.Context(), openDir(t, dir+"/in"), name); !errors.Is(err, unix.EINVAL) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	if _, err := os.Lstat(dir + "/in/file"); err != nil {
		t.Error(err)
	}
}

func TestRemoveLeavesLinkTargets(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/outside/file", "")
	must(t, os.Mkdir(dir+"/tree", 0o755), os.Symlink(dir+"/outside", dir+"/tree/link"), os.Symlink(dir+"/outside", dir+"/top"))
	parent := openDir(t, dir)
	must(t, copytree.Remove(t.Context(), parent, "tree"), copytree.Remove(t.Context(), parent, "top"))
	gone(t, dir+"/top")
	if _, err := os.Lstat(dir + "/outside/file"); err != nil {
		t.Error(err)
	}
}

func TestRemoveProtected(t *testing.T) {
	if _, err := exec.LookPath("chattr"); err != nil {
		t.Skip("chattr is not installed")
	}
	base := loopfs.Mount(t, "ext4", 32)
	write(t, base+"/tree/dir/immutable", "")
	write(t, base+"/tree/dir/append", "")
	for flag, path := range map[string]string{"+i": "/tree/dir/immutable", "+a": "/tree/dir/append"} {
		chattr(t, flag, base+path)
	}
	chattr(t, "+i", base+"/tree/dir")
	chattr(t, "+a", base+"/tree")
	must(t, copytree.Remove(t.Context(), openDir(t, base), "tree"))
	gone(t, base+"/tree")

	// The parent belongs to the caller: its protection holds.
	write(t, base+"/pool/file", "")
	chattr(t, "+i", base+"/pool")
	if err := copytree.Remove(t.Context(), openDir(t, base+"/pool"), "file"); !errors.Is(err, unix.EPERM) {
		t.Errorf("remove from an immutable parent: %v", err)
	}
}

func chattr(t *testing.T, flag, path string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "chattr", flag, path).CombinedOutput(); err != nil {
		t.Fatalf("chattr %s %s: %v\n%s", flag, path, err, out)
	}
}

func TestRemoveStopsAtMounts(t *testing.T) {
	base := loopfs.Mount(t, "ext4", 32)
	write(t, base+"/outside/file", "")
	point := mkdir(t, base+"/tree/point")
	must(t, unix.Mount(base+"/outside", point, "", unix.MS_BIND, ""))
	parent := openDir(t, base)
	inside := copytree.Remove(t.Context(), parent, "tree")
	itself := copytree.Remove(t.Context(), openDir(t, base+"/tree"), "point")
	must(t, unix.Unmount(point, 0))
	if !errors.Is(inside, unix.EBUSY) || !errors.Is(itself, unix.EBUSY) {
		t.Errorf("remove with a mount inside: %v; of a mount point: %v", inside, itself)
	}
	if _, err := os.Lstat(base + "/outside/file"); err != nil {
		t.Error(err)
	}
	must(t, copytree.Remove(t.Context(), parent, "tree"))
}

func TestRemoveSubvolumes(t *testing.T) {
	base := loopfs.Mount(t, "btrfs", 128)
	write(t, base+"/tree/file", "")
	must(t, btrfs.CreateSubvolume(base+"/tree/sub"), btrfs.CreateSubvolume(base+"/tree/sub/inner"))
	write(t, base+"/tree/sub/inner/file", "")
	for _, path := range []string{"/tree/sub/inner", "/tree/sub"} {
		f, err := os.Open(base + path)
		must(t, err, btrfs.SetReadOnly(f, true), f.Close())
	}
	must(t, copytree.Remove(t.Context(), openDir(t, base), "tree"))
	gone(t, base+"/tree")
}

func TestImmutable(t *testing.T) {
	base := loopfs.Mount(t, "ext4", 32)
	f := openDir(t, mkdir(t, base+"/dir"))
	for i, want := range []bool{false, true, false} {
		must(t, copytree.SetImmutable(f, want))
		if got, err := copytree.Immutable(f); err != nil || got != want {
			t.Errorf("immutable is %v, %v; want %v", got, err, want)
		}
		if err := os.Mkdir(fmt.Sprint(base, "/dir/", i), 0o700); (err != nil) != want {
			t.Errorf("write with immutable %v: %v", want, err)
		}
	}
	proc := openDir(t, "/proc")
	if on, err := copytree.Immutable(proc); on || err != nil {
		t.Errorf("without inode flags: %v, %v", on, err)
	}
	if err := copytree.SetImmutable(proc, true); err == nil {
		t.Error("a flag was set where there is none")
	}
}
