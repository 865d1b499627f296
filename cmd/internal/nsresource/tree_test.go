package nsresource_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/images/foreign"
)

// acl is an access ACL that lets a user of the foreign range, number 7, in.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\x07\x00\xfe\x7f" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
	"\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// capability is cap_net_raw=ep for whose root is that of the foreign range.
const capability = "\x01\x00\x00\x03\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xfe\x7f"

// plant makes a tree of the foreign range as it is on the disk: with files that no user of the host may read.
func plant(t *testing.T, top string) {
	t.Helper()
	put := func(name, text string, uid int, mode uint32) {
		path := filepath.Join(top, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600),
			os.Lchown(path, foreign.Base+uid, foreign.Base+uid+1), unix.Chmod(path, mode))
	}
	put("etc/shadow", "secret", 0, 0o600)
	put("bin/su", "su", 0, 0o4755)
	put("home/somebody/file", "text", 1000, 0o640)
	put("bin/ping", "ping", 0, 0o755)
	for dir, uid := range map[string]int{".": 0, "etc": 0, "bin": 0, "home": 0, "home/somebody": 1000} {
		must(t, os.Chown(filepath.Join(top, dir), foreign.Base+uid, foreign.Base+uid))
	}
	must(t,
		os.Chmod(top, 0o755), os.Chmod(filepath.Join(top, "home/somebody"), 0o700),
		os.Symlink("/etc/passwd", filepath.Join(top, "link")), os.Lchown(filepath.Join(top, "link"), foreign.Base+5, foreign.Base+6),
		os.Link(filepath.Join(top, "bin/ping"), filepath.Join(top, "bin/ping6")),
		unix.Setxattr(filepath.Join(top, "home/somebody/file"), "user.note", []byte("kept"), 0),
		unix.Setxattr(filepath.Join(top, "etc/shadow"), "system.posix_acl_access", []byte(acl), 0),
		unix.Setxattr(filepath.Join(top, "bin/ping"), "security.capability", []byte(capability), 0),
		os.Truncate(filepath.Join(top, "home/somebody/file"), 1<<20),
	)
}

// inode is what a tree has to keep of a file.
type inode struct {
	mode, uid, gid, nlink uint32
	size, mtime           int64
	xattrs, content       string
}

// contents describes a whole tree.
func contents(t *testing.T, top string) map[string]inode {
	t.Helper()
	tree := map[string]inode{}
	must(t, filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		e := inode{mode: st.Mode, uid: st.Uid, gid: st.Gid, size: st.Size, mtime: st.Mtim.Nano(), xattrs: xattrs(t, path)}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			text, err := os.ReadFile(path)
			must(t, err)
			e.content, e.nlink = strings.TrimRight(string(text), "\x00"), uint32(st.Nlink)
		case unix.S_IFLNK:
			e.content, err = os.Readlink(path)
			must(t, err)
		default:
			e.size = 0 // a matter of the file system
		}
		name, err := filepath.Rel(top, path)
		must(t, err)
		tree[name] = e
		return nil
	}))
	return tree
}

// xattrs are the attributes of a file, without the times that images note on their top.
func xattrs(t *testing.T, path string) string {
	t.Helper()
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	must(t, err)
	var all []string
	for _, name := range strings.Split(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.SGI_ACL_") {
			continue // the same ACL once more, on XFS only
		}
		value := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, name, value)
		must(t, err)
		all = append(all, name+"="+string(value[:n]))
	}
	return strings.Join(all, "\n")
}
