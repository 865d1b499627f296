package copytree_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/images/btrfs"
	"berth/images/copytree"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func openDir(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func mkdir(t *testing.T, path string) string {
	t.Helper()
	must(t, os.MkdirAll(path, 0o755))
	return path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}

func copyTree(t *testing.T, src, dst string) error {
	t.Helper()
	return copytree.Copy(t.Context(), openDir(t, src), openDir(t, mkdir(t, dst)), copytree.Options{})
}

// noFDsLeft fails the test if it ends with more open descriptors than it began with.
func noFDsLeft(t *testing.T) {
	t.Helper()
	before := len(openFDs(t))
	t.Cleanup(func() {
		if after := openFDs(t); len(after) > before {
			t.Errorf("%d descriptors open, %d before: %v", len(after), before, after)
		}
	})
}

func openFDs(t *testing.T) []string {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var names []string
	for _, e := range list {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		names = append(names, e.Name()+"="+target)
	}
	return names
}

// entry is everything of a file that a copy has to keep.
type entry struct {
	Mode, UID, GID, Nlink uint32
	Size                  int64
	Rdev                  uint64
	Atime, Mtime          unix.Timespec
	Xattrs                map[string]string
	Content               string
}

func describe(t *testing.T, root string) map[string]entry {
	t.Helper()
	tree := make(map[string]entry)
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		e := entry{
			Mode: st.Mode, UID: st.Uid, GID: st.Gid, Nlink: uint32(st.Nlink), Size: st.Size, Rdev: st.Rdev,
			Atime: st.Atim, Mtime: st.Mtim, Xattrs: xattrs(t, path),
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			must(t, err)
			e.Content = string(content)
		case unix.S_IFLNK:
			e.Content, err = os.Readlink(path)
			must(t, err)
		case unix.S_IFDIR:
			e.Size = 0 // a matter of the filesystem
		}
		rel, err := filepath.Rel(root, path)
		tree[rel] = e
		return err
	}))
	return tree
}

func xattrs(t *testing.T, path string) map[string]string {
	t.Helper()
	buffer := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buffer)
	must(t, err)
	all := make(map[string]string)
	for _, name := range splitNames(buffer[:n]) {
		if strings.HasPrefix(name, "trusted.SGI_ACL_") {
			continue // the same ACL once more, on XFS only
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		must(t, err)
		all[name] = string(value[:n])
	}
	return all
}

func splitNames(list []byte) (names []string) {
	start := 0
	for i, b := range list {
		if b == 0 {
			names = append(names, string(list[start:i]))
			start = i + 1
		}
	}
	return names
}

// acl is an access ACL in its binary form: user::rwx, user:1000:r-x, group::r-x, mask::r-x, other::---.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
	"\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// capability is cap_net_raw=ep as ping has it.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// populate makes one of each kind of file with everything that can be set on it.
func populate(t *testing.T, root string) {
	t.Helper()
	for i := range 3 {
		write(t, fmt.Sprintf("%s/usr/lib/dir%d/file", root, i), fmt.Sprint("content ", i))
	}
	write(t, root+"/bin/ping", "ping")
	write(t, root+"/bin/sudo", "sudo")
	write(t, root+"/empty", "")
	must(t,
		os.Chown(root+"/bin/sudo", 12, 34),
		unix.Chmod(root+"/bin/sudo", 0o6751),
		unix.Setxattr(root+"/bin/ping", "security.capability", []byte(capability), 0),
		unix.Setxattr(root+"/bin", "user.note", []byte("of a directory"), 0),
		unix.Setxattr(root+"/bin", "trusted.note", []byte("for root"), 0),
		unix.Setxattr(root+"/usr", "system.posix_acl_access", []byte(acl), 0),
		unix.Setxattr(root+"/usr", "system.posix_acl_default", []byte(acl), 0),
		unix.Setxattr(root+"/empty", "system.posix_acl_access", []byte(acl), 0),
		os.Symlink("/does/not/exist", root+"/link"),
		os.Lchown(root+"/link", 56, 78),
		unix.Lsetxattr(root+"/link", "trusted.note", []byte("of a link"), 0),
		os.Link(root+"/bin/ping", root+"/usr/lib/dir1/ping"),
		os.Link(root+"/link", root+"/usr/link2"),
		unix.Mknod(root+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(root+"/loop", unix.S_IFBLK|0o640, int(unix.Mkdev(7, 300))),
		unix.Mknod(root+"/fifo", unix.S_IFIFO|0o622, 0),
		unix.Mknod(root+"/socket", unix.S_IFSOCK|0o755, 0),
		unix.Setxattr(root+"/null", "trusted.note", []byte("of a device"), 0),
		os.Mkdir(root+"/secret", 0),
		unix.Chmod(root+"/usr", 0o1750),
	)
	n := int64(0)
	for _, path := range []string{"/bin/ping", "/link", "/null", "/fifo", "/secret", "/usr/lib", "/usr", "/bin", "."} {
		n++
		times := []unix.Timespec{{Sec: 1e9 + n, Nsec: 123456789}, {Sec: 1e9 - n, Nsec: 987654321}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, root+"/"+path, times, unix.AT_SYMLINK_NOFOLLOW))
	}
}

func TestCopyKeepsEverything(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			base := loopfs.Mount(t, kind, loopfs.MinXFS)
			// Else describe itself changes access times.
			must(t, unix.Mount("", base, "", unix.MS_REMOUNT|unix.MS_NOATIME, ""))
			src, dst := mkdir(t, base+"/src"), mkdir(t, base+"/dst")
			populate(t, src)
			want := describe(t, src)
			// ACLs that the destination inherits from the pool must not get into the copy.
			must(t, unix.Setxattr(dst, "system.posix_acl_default", []byte(acl), 0),
				unix.Setxattr(dst, "system.posix_acl_access", []byte(acl), 0))
			must(t, copyTree(t, src, dst))
			if diff := cmp.Diff(want, describe(t, dst)); diff != "" {
				t.Errorf("copy differs (-source +copy):\n%s", diff)
			}
			if inode(t, dst+"/bin/ping") != inode(t, dst+"/usr/lib/dir1/ping") {
				t.Error("a hard link became a file of its own")
			}
		})
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Ino
}

func TestCopyBetweenFilesystems(t *testing.T) {
	base := loopfs.Mount(t, "ext4", 64)
	must(t, unix.Mount("", base, "", unix.MS_REMOUNT|unix.MS_NOATIME, ""))
	src := mkdir(t, base+"/src")
	populate(t, src)
	makeSparse(t, src+"/sparse")
	other := loopfs.Mount(t, "xfs", loopfs.MinXFS)
	must(t, unix.Mount("", other, "", unix.MS_REMOUNT|unix.MS_NOATIME, ""))
	dst := other + "/dst"
	must(t, copyTree(t, src, dst))
	if diff := cmp.Diff(describe(t, src), describe(t, dst)); diff != "" {
		t.Errorf("copy differs (-source +copy):\n%s", diff)
	}
	if got := allocated(t, dst+"/sparse"); got > 1<<20 {
		t.Errorf("the sparse file takes %d bytes", got)
	}
}

func TestCopyLeavesAccessTimes(t *testing.T) {
	base := loopfs.Mount(t, "ext4", 32)
	write(t, base+"/src/dir/file", "x")
	paths := []string{"/src", "/src/dir", "/src/dir/file"}
	old := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}
	for _, path := range paths {
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, base+path, old, 0))
	}
	must(t, copyTree(t, base+"/src", base+"/dst"))
	for _, path := range paths {
		var st unix.Stat_t
		must(t, unix.Lstat(base+path, &st))
		if st.Atim != old[0] {
			t.Errorf("%s was last read %v", path, st.Atim)
		}
	}
}

func TestCopyRefusesWhatTheDestinationCannotHold(t *testing.T) {
	src := mkdir(t, loopfs.Mount(t, "ext4", 32)+"/src")
	write(t, src+"/ping", "ping")
	must(t, unix.Setxattr(src+"/ping", "user.big", make([]byte, 300), 0))
	dst := mkdir(t, t.TempDir()+"/ram")
	must(t, unix.Mount("berth", dst, "ramfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dst, 0)) })
	if err := func() error {
		d, err := os.Open(dst)
		must(t, err)
		defer d.Close()
		return copytree.Copy(t.Context(), openDir(t, src), d, copytree.Options{})
	}(); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("extended attributes on ramfs: %v", err)
	}
}

func TestCopyRefusesAFullDestination(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src/file", "new")
	write(t, dir+"/dst/file", "old")
	if err := copyTree(t, dir+"/src", dir+"/dst"); !errors.Is(err, unix.EEXIST) {
		t.Errorf("copy over a file: %v", err)
	}
	if got, _ := os.ReadFile(dir + "/dst/file"); string(got) != "old" {
		t.Errorf("file holds %q", got)
	}
}

func TestCopyIntoItself(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "x")
	must(t, copyTree(t, dir, dir+"/var/machines/new"))
	if _, err := os.Lstat(dir + "/var/machines/new/file"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir + "/var/machines/new/var/machines/new"); !os.IsNotExist(err) {
		t.Errorf("the copy holds itself: %v", err)
	}
}

func TestCopyStaysOnOneMount(t *testing.T) {
	base := loopfs.Mount(t, "ext4", 32)
	write(t, base+"/elsewhere/file", "x")
	write(t, base+"/src/file", "x")
	point := mkdir(t, base+"/src/point")
	write(t, base+"/src/hidden", "x")
	must(t, unix.Mount(base+"/elsewhere", point, "", unix.MS_BIND, ""))
	defer func() { must(t, unix.Unmount(point, 0)) }()
	must(t, unix.Mount(base+"/elsewhere/file", base+"/src/hidden", "", unix.MS_BIND, ""))
	defer func() { must(t, unix.Unmount(base+"/src/hidden", 0)) }()
	must(t, copyTree(t, base+"/src", base+"/dst"))
	if list, err := os.ReadDir(base + "/dst/point"); err != nil || len(list) != 0 {
		t.Errorf("place of the mount holds %v, %v", list, err)
	}
	if _, err := os.Lstat(base + "/dst/hidden"); !os.IsNotExist(err) {
		t.Errorf("a mounted file was copied: %v", err)
	}
}

func TestCopyDeepTree(t *testing.T) {
	noFDsLeft(t)
	var limit, low unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low = limit
	low.Cur = 64
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	dir := t.TempDir()
	deepen(t, mkdir(t, dir+"/fits"), 1500)
	must(t, copyTree(t, dir+"/fits", dir+"/copy"))
	deepen(t, mkdir(t, dir+"/deep"), 3000)
	if err := copyTree(t, dir+"/deep", dir+"/copy2"); !errors.Is(err, copytree.ErrTooDeep) {
		t.Errorf("copy of a very deep tree: %v", err)
	}
	for _, name := range []string{"fits", "copy", "deep", "copy2"} {
		must(t, copytree.Remove(t.Context(), openDir(t, dir), name))
	}
}

// deepen makes so many directories in each other, and a file in the last.
func deepen(t *testing.T, dir string, levels int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range levels {
		must(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err, unix.Close(fd))
		fd = next
	}
	must(t, unix.Mknodat(fd, "file", unix.S_IFREG|0o644, 0), unix.Close(fd))
}

func TestCopyEndsWithContext(t *testing.T) {
	noFDsLeft(t)
	dir := t.TempDir()
	write(t, dir+"/src/a/b/file", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := copytree.Copy(ctx, openDir(t, dir+"/src"), openDir(t, mkdir(t, dir+"/dst")), copytree.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled copy: %v", err)
	}
	if err := copytree.Remove(ctx, openDir(t, dir), "src"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled removal: %v", err)
	}
}

// What is copied counts, piece by piece; what is shared does not, nor do holes.
func TestCopyCountsBytes(t *testing.T) {
	for kind, want := range map[string]int64{"ext4": 20<<20 + 8<<10, "btrfs": 0} {
		t.Run(kind, func(t *testing.T) {
			base := loopfs.Mount(t, kind, loopfs.MinXFS)
			write(t, base+"/src/a/file", strings.Repeat("x", 20<<20))
			makeSparse(t, base+"/src/sparse")
			must(t, os.Link(base+"/src/sparse", base+"/src/again"))
			var total int64
			must(t, copytree.Copy(t.Context(), openDir(t, base+"/src"), openDir(t, mkdir(t, base+"/dst")), copytree.Options{
				Progress: func(bytes int64) {
					if bytes <= 0 || bytes > 16<<20 {
						t.Errorf("%d bytes at once", bytes)
					}
					total += bytes
				},
			}))
			if total != want {
				t.Errorf("%d bytes were copied, want %d", total, want)
			}
		})
	}
}

func TestDataSize(t *testing.T) {
	dir := loopfs.Mount(t, "ext4", 32)
	makeSparse(t, dir+"/sparse")
	f, err := os.Open(dir + "/sparse")
	must(t, err)
	defer f.Close()
	if size, err := copytree.DataSize(f); size != 8<<10 || err != nil {
		t.Errorf("the file has %d bytes of data, %v", size, err)
	}
}

func TestCopyNestedSubvolumes(t *testing.T) {
	base := loopfs.Mount(t, "btrfs", 128)
	must(t, btrfs.CreateSubvolume(base+"/src"), btrfs.CreateSubvolume(base+"/src/inner"))
	write(t, base+"/src/inner/file", "x")
	must(t, copytree.SetNoCOW(openDir(t, base+"/src/inner")))
	write(t, base+"/src/inner/nocow", "x")
	must(t, copyTree(t, base+"/src", base+"/dst"))
	if got, err := os.ReadFile(base + "/dst/inner/file"); err != nil || string(got) != "x" {
		t.Errorf("file in a nested subvolume: %q, %v", got, err)
	}
	if got, err := os.ReadFile(base + "/dst/inner/nocow"); err != nil || string(got) != "x" {
		t.Errorf("file without copy-on-write: %q, %v", got, err)
	}
}
