package tarball

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// node is all that an archive has to carry of an inode.
type node struct {
	Mode, UID, GID uint32
	Size           int64
	Mtime          unix.Timespec
	Rdev           uint64
	Link           string
	SHA256         string
	Data           string // ranges that hold data
	Xattrs         map[string]string
	Flags          string
	Peer           string // the first name of the same inode
}

// snapshot describes every inode below root, by name.
func snapshot(t testing.TB, root string) map[string]node {
	t.Helper()
	nodes := map[string]node{}
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		n := node{
			Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size, Mtime: st.Mtim, Rdev: st.Rdev,
			Xattrs: xattrsOf(t, path),
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			n.Size = 0
			n.Flags = flagsOf(t, path)
		case unix.S_IFREG:
			n.Flags = flagsOf(t, path)
			n.SHA256, n.Data = contentOf(t, path, st.Size)
		case unix.S_IFLNK:
			if n.Link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if _, ok := first[st.Ino]; !ok {
				first[st.Ino] = name
			}
			n.Peer = first[st.Ino]
		}
		nodes[name] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

func xattrsOf(t testing.TB, path string) map[string]string {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	attrs := map[string]string{}
	value := make([]byte, 1<<16)
	for _, name := range bytes.Split(buf[:n], []byte{0}) {
		if len(name) == 0 {
			continue
		}
		n, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			t.Fatal(err)
		}
		attrs[string(name)] = fmt.Sprintf("%q", value[:n])
	}
	return attrs
}

func flagsOf(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bits, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return ""
	}
	return formatFlags(bits)
}

// contentOf hashes the data ranges only, so that huge holes cost nothing.
func contentOf(t testing.TB, path string, size int64) (sum, ranges string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	for offset := int64(0); offset < size; {
		data, err := unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
		if err != nil {
			break
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			t.Fatal(err)
		}
		ranges += fmt.Sprintf("%d-%d ", data, hole)
		if _, err := io.Copy(hash, io.NewSectionReader(f, data, hole-data)); err != nil {
			t.Fatal(err)
		}
		offset = hole
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), ranges
}

func diffTrees(t testing.TB, want, got map[string]node) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trees differ (-want +got):\n%s", diff)
	}
}
