package btrfs_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/images/btrfs"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func create(t *testing.T, path string) {
	t.Helper()
	if err := btrfs.CreateSubvolume(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func isSubvolume(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return false
	}
	defer f.Close()
	return btrfs.IsSubvolume(f)
}

func readOnly(t *testing.T, path string) bool {
	t.Helper()
	f := open(t, path)
	ro, err := btrfs.ReadOnly(f)
	if err != nil {
		t.Fatal(err)
	}
	return ro
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("%s is not installed", argv[0])
	}
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// nest makes a subvolume with two levels of others in it, one of them in a plain directory.
func nest(t *testing.T, top string) {
	t.Helper()
	create(t, top)
	write(t, top+"/etc/file", "top")
	if err := os.Mkdir(top+"/var", 0o755); err != nil {
		t.Fatal(err)
	}
	create(t, top+"/var/inner")
	write(t, top+"/var/inner/dir/file", "inner")
	create(t, top+"/var/inner/dir/leaf")
	write(t, top+"/var/inner/dir/leaf/file", "leaf")
}

func TestCreate(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 128)
	before := time.Now().Add(-time.Minute)
	create(t, root+"/a")
	f := open(t, root+"/a")
	if !btrfs.IsBtrfs(f) || !btrfs.IsSubvolume(f) {
		t.Error("a new subvolume is not seen as one")
	}
	info, err := btrfs.Stat(f)
	if err != nil {
		t.Fatal(err)
	}
	if info.ID < 256 || info.ParentID != 5 || info.ReadOnly || info.Created.Before(before) || info.Modified.Before(before) {
		t.Errorf("record of a new subvolume: %+v", info)
	}
	if err := btrfs.CreateSubvolume(root + "/a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over another one: %v", err)
	}
	if err := os.Mkdir(root+"/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	dir := open(t, root+"/dir")
	if btrfs.IsSubvolume(dir) {
		t.Error("a directory is taken for a subvolume")
	}
	if _, err := btrfs.ReadOnly(dir); !errors.Is(err, btrfs.ErrNotSubvolume) {
		t.Errorf("flags of a directory: %v", err)
	}
}

func TestOtherFilesystem(t *testing.T) {
	dir := loopfs.Mount(t, "ext4", 32)
	f := open(t, dir)
	if btrfs.IsBtrfs(f) || btrfs.IsSubvolume(f) {
		t.Error("ext4 is taken for btrfs")
	}
	if err := btrfs.CreateSubvolume(dir + "/x"); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("create on ext4: %v, want ENOTTY", err)
	}
	if _, err := btrfs.ReadQuota(f); !errors.Is(err, btrfs.ErrNotSubvolume) {
		t.Errorf("quota on ext4: %v", err)
	}
}

func TestSetReadOnly(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 128)
	nest(t, root+"/a")
	f := open(t, root+"/a")
	if err := btrfs.SetReadOnly(f, true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/a/new", nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write to a read-only subvolume: %v", err)
	}
	if readOnly(t, root+"/a/var/inner") {
		t.Error("a nested subvolume became read-only too")
	}
	if err := btrfs.SetReadOnly(f, false); err != nil {
		t.Fatal(err)
	}
	write(t, root+"/a/new", "")
}

func TestSnapshot(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 128)
	nest(t, root+"/a")
	for name, frozen := range map[string]bool{"rw": false, "ro": true} {
		t.Run(name, func(t *testing.T) {
			dst := root + "/" + name
			if err := btrfs.Snapshot(t.Context(), open(t, root+"/a"), dst, frozen); err != nil {
				t.Fatal(err)
			}
			for file, want := range map[string]string{"/etc/file": "top", "/var/inner/dir/file": "inner", "/var/inner/dir/leaf/file": "leaf"} {
				got, err := os.ReadFile(dst + file)
				if err != nil || string(got) != want {
					t.Errorf("%s holds %q, %v", file, got, err)
				}
			}
			for _, sub := range []string{"", "/var/inner", "/var/inner/dir/leaf"} {
				if !isSubvolume(t, dst+sub) {
					t.Errorf("%q is no subvolume in the snapshot", sub)
				} else if got := readOnly(t, dst+sub); got != frozen {
					t.Errorf("%q read-only: %v", sub, got)
				}
			}
			if err := btrfs.DeleteSubvolume(t.Context(), open(t, root), name); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSnapshotLeavesNothingOnError(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 128)
	nest(t, root+"/a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := btrfs.Snapshot(ctx, open(t, root+"/a"), root+"/b", false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled snapshot: %v", err)
	}
	// A chain of subvolumes that is too deep fails when much of it has been made already.
	path := root + "/deep"
	for range 70 {
		create(t, path)
		path += "/d"
	}
	if err := btrfs.Snapshot(t.Context(), open(t, root+"/deep"), root+"/b", false); !errors.Is(err, btrfs.ErrTooDeep) {
		t.Errorf("snapshot of a deep chain: %v", err)
	}
	if _, err := os.Lstat(root + "/b"); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
	write(t, root+"/kept/file", "")
	if err := btrfs.Snapshot(t.Context(), open(t, root+"/a"), root+"/kept", false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("snapshot over a directory: %v", err)
	}
	if _, err := os.Lstat(root + "/kept/file"); err != nil {
		t.Error(err)
	}
}

func TestDelete(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 128)
	nest(t, root+"/a")
	for _, sub := range []string{"/var/inner", ""} {
		if err := btrfs.SetReadOnly(open(t, root+"/a"+sub), true); err != nil {
			t.Fatal(err)
		}
	}
	dir := open(t, root)
	if err := btrfs.DeleteSubvolume(t.Context(), dir, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(root + "/a"); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	if err := btrfs.DeleteSubvolume(t.Context(), dir, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("delete what is not there: %v", err)
	}
}

func TestDeleteImmutable(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 128)
	nest(t, root+"/a")
	run(t, "chattr", "+i", root+"/a/var/inner/dir/leaf", root+"/a/var/inner/dir", root+"/a/var", root+"/a")
	if err := btrfs.DeleteSubvolume(t.Context(), open(t, root), "a"); err != nil {
		t.Fatal(err)
	}
}

func TestDeleteTouchesNothingElse(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 128)
	create(t, root+"/victim")
	write(t, root+"/victim/file", "")
	write(t, root+"/dir/file", "")
	if err := os.Symlink("victim", root+"/link"); err != nil {
		t.Fatal(err)
	}
	dir := open(t, root)
	for _, name := range []string{"dir", "link", ".", "..", "", "a/b", "victim/../victim"} {
		if err := btrfs.DeleteSubvolume(t.Context(), dir, name); err == nil {
			t.Errorf("%q was deleted", name)
		}
	}
	for _, name := range []string{"dir/file", "victim/file"} {
		if _, err := os.Lstat(root + "/" + name); err != nil {
			t.Error(err)
		}
	}
	create(t, root+"/outer")
	create(t, root+"/outer/mounted")
	if err := unix.Mount(root+"/dir", root+"/outer/mounted", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	err := btrfs.DeleteSubvolume(t.Context(), dir, "outer")
	if umountErr := unix.Unmount(root+"/outer/mounted", 0); umountErr != nil {
		t.Fatal(umountErr)
	}
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("delete with a mount inside: %v", err)
	}
	if _, err := os.Lstat(root + "/dir/file"); err != nil {
		t.Error(err)
	}
}

func TestQuota(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 256)
	create(t, root+"/a")
	f := open(t, root+"/a")
	if _, err := btrfs.ReadQuota(f); !errors.Is(err, btrfs.ErrNoQuota) {
		t.Fatalf("quota while it is off: %v", err)
	}
	if err := btrfs.SetLimit(f, 1<<20); !errors.Is(err, btrfs.ErrNoQuota) {
		t.Fatalf("limit while quota is off: %v", err)
	}
	if err := btrfs.SetSubtreeLimit(f, 1<<20); !errors.Is(err, btrfs.ErrNoQuota) {
		t.Fatalf("limit of the subtree while quota is off: %v", err)
	}
	run(t, "btrfs", "quota", "enable", root)
	run(t, "btrfs", "quota", "rescan", "-w", root)
	write(t, root+"/a/file", string(make([]byte, 1<<20)))
	run(t, "sync", "-f", root)
	q, err := btrfs.ReadQuota(f)
	if err != nil {
		t.Fatal(err)
	}
	if q.Referenced < 1<<20 || q.Exclusive < 1<<20 || q.ReferencedLimit != btrfs.NoLimit || q.ExclusiveLimit != btrfs.NoLimit {
		t.Errorf("quota of 1 MiB of data: %+v", q)
	}
	for _, limit := range []uint64{8 << 20, btrfs.NoLimit} {
		if err := btrfs.SetLimit(f, limit); err != nil {
			t.Fatal(err)
		}
		if q, err = btrfs.ReadQuota(f); err != nil || q.ReferencedLimit != limit {
			t.Errorf("after setting limit %d: %+v, %v", limit, q, err)
		}
	}
	if err := btrfs.SetSubtreeLimit(f, 1<<20); !errors.Is(err, btrfs.ErrNoGroup) {
		t.Errorf("limit of the subtree without a group: %v", err)
	}
}

func TestQuotaOfSubtree(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 256)
	create(t, root+"/a")
	create(t, root+"/a/inner")
	run(t, "btrfs", "quota", "enable", root)
	run(t, "btrfs", "qgroup", "create", "1/256", root)
	run(t, "btrfs", "qgroup", "assign", "--no-rescan", "0/256", "1/256", root)
	run(t, "btrfs", "qgroup", "assign", "--no-rescan", "0/257", "1/256", root)
	run(t, "btrfs", "quota", "rescan", "-w", root)
	write(t, root+"/a/inner/file", string(make([]byte, 1<<20)))
	run(t, "sync", "-f", root)
	f := open(t, root+"/a")
	if err := btrfs.SetSubtreeLimit(f, 2<<20); err != nil {
		t.Fatal(err)
	}
	q, err := btrfs.ReadQuota(f)
	if err != nil || q.Referenced < 1<<20 || q.ReferencedLimit != 2<<20 {
		t.Errorf("quota of the group over both subvolumes: %+v, %v", q, err)
	}
	if err := os.WriteFile(root+"/a/inner/more", make([]byte, 4<<20), 0o600); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("beyond the limit of the group: %v", err)
	}
}

// What is made in a pool that is limited as a whole counts.
func TestNewSubvolumesJoinTheGroup(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 256)
	pool := root + "/pool"
	create(t, pool)
	create(t, pool+"/a")
	create(t, pool+"/a/inner")
	write(t, pool+"/a/inner/file", string(make([]byte, 1<<20)))
	run(t, "btrfs", "quota", "enable", root)
	run(t, "btrfs", "qgroup", "create", "1/256", root)
	for _, id := range []string{"0/256", "0/257", "0/258"} {
		run(t, "btrfs", "qgroup", "assign", "--no-rescan", id, "1/256", root)
	}
	run(t, "btrfs", "quota", "rescan", "-w", root)
	if err := btrfs.SetSubtreeLimit(open(t, pool), 8<<20); err != nil {
		t.Fatal(err)
	}
	create(t, pool+"/new")
	if err := btrfs.Snapshot(t.Context(), open(t, pool+"/a"), pool+"/snap", false); err != nil {
		t.Fatal(err)
	}
	run(t, "sync", "-f", root)
	if q, err := btrfs.ReadQuota(open(t, pool)); err != nil || q.ReferencedLimit != 8<<20 {
		t.Errorf("quota of the pool: %+v, %v", q, err)
	}
	for _, path := range []string{"/new/file", "/snap/file", "/snap/inner/more"} {
		if err := os.WriteFile(pool+path, make([]byte, 16<<20), 0o600); !errors.Is(err, unix.EDQUOT) {
			t.Errorf("%s is not counted: %v", path, err)
		}
		if err := os.Remove(pool + path); err != nil {
			t.Fatal(err)
		}
	}
}
