package copytree_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/images/copytree"
)

// merge copies the entry src to dst, both given by path.
func merge(t *testing.T, src, dst string, options copytree.MergeOptions) error {
	t.Helper()
	noFDsLeft(t)
	from, to := openDir(t, filepath.Dir(src)), openDir(t, filepath.Dir(dst))
	return copytree.Merge(t.Context(), from, filepath.Base(src), to, filepath.Base(dst), options)
}

func TestMergeKeepsEverything(t *testing.T) {
	base := loopfs.Mount(t, "ext4", 64)
	must(t, unix.Mount("", base, "", unix.MS_REMOUNT|unix.MS_NOATIME, ""))
	src := mkdir(t, base+"/src")
	populate(t, src)
	makeSparse(t, src+"/sparse")
	want := describe(t, src)
	for _, e := range want {
		delete(e.Xattrs, "trusted.note")
	}
	mkdir(t, base+"/pool")
	must(t, unix.Setxattr(base+"/pool", "system.posix_acl_default", []byte(acl), 0))
	must(t, merge(t, src, base+"/pool/new name", copytree.MergeOptions{}))
	if diff := cmp.Diff(want, describe(t, base+"/pool/new name")); diff != "" {
		t.Errorf("copy differs (-source +copy):\n%s", diff)
	}
	if inode(t, base+"/pool/new name/bin/ping") != inode(t, base+"/pool/new name/usr/lib/dir1/ping") {
		t.Error("a hard link became a file of its own")
	}
	if got := allocated(t, base+"/pool/new name/sparse"); got > 1<<20 {
		t.Errorf("the sparse file takes %d bytes", got)
	}
	must(t, merge(t, src+"/fifo", base+"/fifo", copytree.MergeOptions{}), merge(t, src+"/link", base+"/link", copytree.MergeOptions{}))
	got := describe(t, base)
	if diff := cmp.Diff([]entry{want["fifo"], want["link"].withLinks(1)}, []entry{got["fifo"], got["link"]}); diff != "" {
		t.Errorf("single entries differ (-source +copy):\n%s", diff)
	}
}

func (e entry) withLinks(n uint32) entry {
	e.Nlink = n
	return e
}

func TestMergeIntoWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src/both", "new")
	write(t, dir+"/src/sub/added", "new")
	write(t, dir+"/src/sub/both", "new")
	must(t, os.Link(dir+"/src/sub/both", dir+"/src/sub/second"))
	write(t, dir+"/dst/both", "old")
	write(t, dir+"/dst/sub/both", "old")
	must(t, unix.Chmod(dir+"/dst/sub", 0o711))
	must(t, merge(t, dir+"/src", dir+"/dst", copytree.MergeOptions{}))
	wantContent(t, dir+"/dst/both", "old")
	wantContent(t, dir+"/dst/sub/added", "new")
	if st, err := os.Stat(dir + "/dst/sub"); err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("directory that was there: %v, %v", st.Mode(), err)
	}
	must(t, merge(t, dir+"/src", dir+"/dst", copytree.MergeOptions{Replace: true}))
	wantContent(t, dir+"/dst/both", "new")
	if inode(t, dir+"/dst/sub/both") != inode(t, dir+"/dst/sub/second") {
		t.Error("a hard link became a file of its own")
	}
	if left, _ := filepath.Glob(dir + "/dst/.#*"); len(left) > 0 {
		t.Errorf("temporary files %q", left)
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, not %q", path, got, err, want)
	}
}

func TestMergeConflicts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src/file", "new")
	write(t, dir+"/src/tree/a/x", "new")
	write(t, dir+"/src/tree/b", "new")
	write(t, dir+"/dst/file", "old")
	mkdir(t, dir+"/dst/dir")
	write(t, dir+"/dst/tree/a", "old")
	must(t, os.Symlink(dir+"/src", dir+"/dst/link"))
	replace := copytree.MergeOptions{Replace: true}
	for _, c := range []struct {
		src, dst string
		options  copytree.MergeOptions
		want     error
	}{
		{"file", "file", copytree.MergeOptions{}, unix.EEXIST},
		{"file", "dir", copytree.MergeOptions{}, unix.EEXIST},
		{"file", "dir", replace, unix.EEXIST},
		{"tree", "file", replace, unix.ENOTDIR},
		{"tree", "link", replace, unix.ENOTDIR},
		{"absent", "new", replace, unix.ENOENT},
		{"tree", "tree", copytree.MergeOptions{}, unix.ENOTDIR}, // one entry of it
	} {
		if err := merge(t, dir+"/src/"+c.src, dir+"/dst/"+c.dst, c.options); !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v, want %v", c.src, c.dst, err, c.want)
		}
	}
	wantContent(t, dir+"/dst/tree/b", "new") // although a could not be copied
	must(t, merge(t, dir+"/src/file", dir+"/dst/link", replace))
	wantContent(t, dir+"/dst/link", "new")
	if left, _ := filepath.Glob(dir + "/dst/.#*"); len(left) > 0 {
		t.Errorf("temporary files %q", left)
	}
}

func TestMergeForAnotherOwner(t *testing.T) {
	dir := loopfs.Mount(t, "ext4", 32)
	src := mkdir(t, dir+"/src")
	populate(t, src)
	write(t, src+"/su", "su")
	must(t, unix.Chmod(src+"/su", 0o4755), unix.Setxattr(src+"/su", "user.note", []byte("x"), 0))
	for name, owner := range map[string]copytree.Owner{"in": {UID: 77, GID: 88}, "out": {Distrust: true}} {
		dst := dir + "/" + name
		err := merge(t, src, dst, copytree.MergeOptions{Owner: &owner})
		if owner.Distrust != errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", name, err)
		}
		tree := describe(t, dst)
		_, null := tree["null"]
		if _, loop := tree["loop"]; !null || loop == owner.Distrust {
			t.Errorf("%s: devices null %v, loop %v", name, null, loop)
		}
		for path, e := range tree {
			if e.UID != owner.UID || e.GID != owner.GID {
				t.Errorf("%s: %s belongs to %d:%d", name, path, e.UID, e.GID)
			}
			for key := range e.Xattrs {
				if !strings.HasPrefix(key, "user.") {
					t.Errorf("%s: %s has %s", name, path, key)
				}
			}
		}
		if got := tree["bin/sudo"].Mode & 0o7777; got != 0o751 {
			t.Errorf("%s: a user's setuid program has mode %o", name, got)
		}
		if got, keeps := tree["su"].Mode&0o7777, name == "in"; (got == 0o4755) != keeps || tree["su"].Xattrs["user.note"] != "x" {
			t.Errorf("%s: root's setuid program has mode %o, attributes %v", name, got, tree["su"].Xattrs)
		}
	}
}

func TestMergeReadsFilesWithoutSize(t *testing.T) {
	dst := t.TempDir() + "/version"
	must(t, merge(t, "/proc/version", dst, copytree.MergeOptions{}))
	want, err := os.ReadFile("/proc/version")
	must(t, err)
	wantContent(t, dst, string(want))
}

func TestMergeEntersMounts(t *testing.T) {
	base := loopfs.Mount(t, "ext4", 32)
	write(t, base+"/elsewhere/file", "x")
	point := mkdir(t, base+"/src/point")
	must(t, unix.Mount(base+"/elsewhere", point, "", unix.MS_BIND, ""))
	defer func() { must(t, unix.Unmount(point, 0)) }()
	must(t, merge(t, base+"/src", base+"/dst", copytree.MergeOptions{}))
	wantContent(t, base+"/dst/point/file", "x")
}

// TestMergeIsNotLedAway lets somebody swap a directory of the destination for a link to a protected place, over and over
// while the copy runs.
func TestMergeIsNotLedAway(t *testing.T) {
	dir := t.TempDir()
	for _, name := range strings.Fields("a b c d e f g h") {
		write(t, dir+"/src/sub/"+name, "attack")
		must(t, os.Link(dir+"/src/sub/"+name, dir+"/src/sub/second "+name), os.Symlink("x", dir+"/src/sub/link "+name),
			unix.Mkfifo(dir+"/src/sub/fifo "+name, 0o777))
	}
	protected := mkdir(t, dir+"/protected")
	write(t, protected+"/a", "host")
	describe(t, protected) // which itself changes access times
	before := describe(t, protected)
	dst := mkdir(t, dir+"/dst")
	swap := exec.CommandContext(t.Context(), "/bin/sh", "-c", `while :; do
		mv "$0/sub" "$0/old" && ln -s "$1" "$0/sub" && rm "$0/sub" && mv "$0/old" "$0/sub"
	done 2>/dev/null`, dst, protected)
	must(t, swap.Start())
	top := openDir(t, dir)
	for range 200 {
		// The error depends on who comes first.
		_ = copytree.Merge(t.Context(), top, "src", top, "dst", copytree.MergeOptions{Replace: true})
	}
	must(t, swap.Process.Kill())
	_ = swap.Wait() // killed
	if diff := cmp.Diff(before, describe(t, protected)); diff != "" {
		t.Errorf("host path changed (-before +after):\n%s", diff)
	}
}
