package tarball

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"berth/fixtures/loopfs"

	"golang.org/x/sys/unix"
)

// makeCPIOTree fills root with what every form of cpio can carry.
func makeCPIOTree(t testing.TB, root string) {
	t.Helper()
	b := builder{t, root}
	for size := range 9 {
		b.file(fmt.Sprintf("data/%d", size), size)
	}
	b.file("data/large", 1<<20+3)
	b.file("names/ünï-ćødé-名前", 4)
	b.file("names/new\nline", 4)
	b.file("names/-dash", 4)
	b.must(os.Mkdir(b.path("empty"), 0o755))
	b.must(os.Mkdir(b.path("links"), 0o755))
	b.must(os.Symlink("/etc/passwd", b.path("links/absolute")))
	b.must(os.Symlink("../../..", b.path("links/up")))
	b.must(os.Lchown(b.path("links/up"), 5, 6))
	b.must(os.Link(b.path("data/7"), b.path("links/hard")))
	b.must(os.Link(b.path("data/7"), b.path("zlast")))
	b.must(os.Link(b.path("data/0"), b.path("links/hard-empty")))
	b.must(os.Mkdir(b.path("dev"), 0o755))
	b.must(unix.Mknod(b.path("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	b.must(unix.Mknod(b.path("dev/loop0"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 0))))
	b.must(os.Link(b.path("dev/null"), b.path("dev/null2")))
	b.fifo("dev/fifo")
	b.must(unix.Mknod(b.path("dev/socket"), unix.S_IFSOCK|0o700, 0))
	b.file("mode/setuid", 5)
	b.must(os.Lchown(b.path("mode/setuid"), 1000, 2000))
	b.must(unix.Chmod(b.path("mode/setuid"), 0o4755))
	b.file("mode/none", 5)
	b.must(unix.Chmod(b.path("mode/none"), 0))
	b.file("mode/locked/inside", 5)
	b.must(unix.Chmod(b.path("mode/locked"), 0o2500))
	b.must(os.Lchown(b.path("mode/locked"), 7, 65000))
	b.must(unix.Chmod(root, 0o751))
	b.wholeSeconds()
}

// wholeSeconds gives everything a time of its own that cpio can say.
func (b builder) wholeSeconds() {
	b.t.Helper()
	second := int64(1500000000)
	b.must(filepath.WalkDir(b.root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		second++
		name, err := filepath.Rel(b.root, path)
		b.touch(name, second, 0)
		return err
	}))
}

// byteSwapped is an archive of the old binary form as a machine of the other byte order writes it.
func byteSwapped(t testing.TB, archive []byte) []byte {
	t.Helper()
	out := bytes.Clone(archive)
	for at := 0; ; {
		h := archive[at:]
		if len(h) < 26 || binary.LittleEndian.Uint16(h) != 0o070707 {
			t.Fatalf("no header at byte %d", at)
		}
		nameSize := int(binary.LittleEndian.Uint16(h[20:]))
		size := int(binary.LittleEndian.Uint16(h[22:]))<<16 | int(binary.LittleEndian.Uint16(h[24:]))
		for i := 0; i < 26; i += 2 {
			out[at+i], out[at+i+1] = archive[at+i+1], archive[at+i]
		}
		if bytes.HasPrefix(h[26:], []byte("TRAILER!!!")) {
			return out
		}
		at += 26 + nameSize + nameSize&1 + size + size&1
	}
}

// TestExtractOfCPIO unpacks what GNU cpio and libarchive packed, and compares with the source and with what GNU cpio
// makes of the same archive.
func TestExtractOfCPIO(t *testing.T) {
	requireRoot(t)
	requireTool(t, "cpio", "bsdcpio", "bsdtar", "find", "sort")
	const list = "find . -print0 | LC_ALL=C sort -z | "
	for name, command := range map[string]string{
		"GNU newc":          list + "cpio -0 -o --quiet -H newc",
		"GNU crc":           list + "cpio -0 -o --quiet -H crc",
		"GNU odc":           list + "cpio -0 -o --quiet --ignore-devno -H odc",
		"GNU bin":           list + "cpio -0 -o --quiet --ignore-devno -H bin",
		"GNU bin, swapped":  list + "cpio -0 -o --quiet --ignore-devno -H bin",
		"GNU newc, depth":   "find . -depth -print0 | cpio -0 -o --quiet -H newc",
		"libarchive newc":   list + "bsdcpio -0 -o --quiet -H newc",
		"libarchive odc":    list + "bsdcpio -0 -o --quiet -H odc",
		"libarchive bsdtar": "bsdtar -c --format=cpio -f - .",
	} {
		t.Run(name, func(t *testing.T) {
			base := loopfs.Mount(t, "ext4", 64)
			source, ours, theirs := mkdir(t, base, "source"), mkdir(t, base, "ours"), mkdir(t, base, "theirs")
			makeCPIOTree(t, source)
			archive := run(t, source, "sh", "-c", command)
			if name == "GNU bin, swapped" {
				archive = byteSwapped(t, archive)
			}
			if err := extractInto(t, ours, archive, ExtractOptions{Warn: noWarnings(t)}); err != nil {
				t.Fatal(err)
			}
			got := snapshot(t, ours)
			diffTrees(t, snapshot(t, source), got)
			feed(t, archive, "cpio", "-i", "-d", "-m", "--quiet", "-D", theirs)
			diffTrees(t, asGNU(snapshot(t, theirs)), asGNU(got))
		})
	}
}

// asGNU takes away what GNU cpio does not restore: the root, which is there, and the times of symbolic links and of
// directories that get content later.
func asGNU(tree map[string]node) map[string]node {
	delete(tree, ".")
	for name, n := range tree {
		if kind := n.Mode & unix.S_IFMT; kind == unix.S_IFLNK || kind == unix.S_IFDIR {
			n.Mtime = unix.Timespec{}
			tree[name] = n
		}
	}
	return tree
}

// odc makes one entry by hand. Device is a number as stat has it.
func odc(name string, mode, ino, nlink, device int, content string) string {
	return fmt.Sprintf("070707%06o%06o%06o%06o%06o%06o%06o%011o%06o%011o%s\x00%s",
		1, ino, mode, os.Getuid(), os.Getgid(), nlink, device, 1500000000, len(name)+1, len(content), name, content)
}

func odcFile(name string) string            { return odc(name, 0o100644, 1, 1, 0, "evil") }
func odcDirectory(name string) string       { return odc(name, 0o040755, 1, 2, 0, "") }
func odcSymlink(name, target string) string { return odc(name, 0o120777, 1, 1, 0, target) }

func odcArchive(entries ...string) []byte {
	var archive []byte
	for _, e := range append(entries, odc("TRAILER!!!", 0, 0, 1, 0, "")) {
		archive = append(archive, e...)
	}
	return archive
}

func TestHostileCPIOIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		want    error
		archive []byte
	}{
		"parent":               {ErrUnsafePath, odcArchive(odcFile("../victim"))},
		"parent inside":        {ErrUnsafePath, odcArchive(odcFile("a/../../victim"))},
		"directory of parent":  {ErrUnsafePath, odcArchive(odcDirectory("../outside"))},
		"absolute":             {ErrUnsafePath, odcArchive(odcFile("/victim"))},
		"NUL":                  {ErrUnsafePath, odcArchive(odcFile("a\x00b"))},
		"no name":              {ErrUnsafePath, odcArchive(odcFile(""))},
		"long name":            {ErrUnsafePath, odcArchive(odcFile(string(bytes.Repeat([]byte("long/"), 900)) + "x"))},
		"deep":                 {ErrTooDeep, odcArchive(odcFile(string(bytes.Repeat([]byte("d/"), 199)) + "x"))},
		"through a link":       {ErrUnsafePath, odcArchive(odcSymlink("l", "../outside"), odcFile("l/victim"))},
		"root is a link":       {ErrUnsafePath, odcArchive(odcSymlink(".", "../outside"), odcFile("victim"))},
		"link of outside":      {ErrUnsafePath, odcArchive(odc("../victim", 0o100644, 5, 2, 0, "evil"), odc("x", 0o100644, 5, 2, 0, "evil"))},
		"link to outside":      {ErrUnsafePath, odcArchive(odc("x", 0o100644, 5, 2, 0, "evil"), odc("../victim", 0o100644, 5, 2, 0, "evil"))},
		"link through a link":  {ErrUnsafePath, odcArchive(odc("d/x", 0o100644, 5, 3, 0, "evil"), odc("d/x", 0o100644, 5, 3, 0, "evil"), odcSymlink("l", "."), odc("l/victim", 0o100644, 5, 3, 0, "evil"))},
		"unknown kind":         {ErrFormat, odcArchive(odc("x", 0o150000, 1, 1, 0, ""))},
		"non-empty, as a file": {unix.ENOTEMPTY, odcArchive(odcDirectory("d"), odcFile("d/x"), odcFile("d"))},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, test.want, func(host) []byte { return test.archive })
		})
	}
}

// TestCPIOLinkOfReplacedName: what has taken the name of a link's target is linked, and never written to.
func TestCPIOLinkOfReplacedName(t *testing.T) {
	h := newHost(t)
	archive := odcArchive(odc("a", 0o100644, 5, 2, 0, "evil"), odcSymlink("a", "../victim"), odc("b", 0o100644, 5, 2, 0, "evil"))
	if err := h.attack(t, archive, Limits{}); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(h.tree, "b")); target != "../victim" {
		t.Errorf("b points to %q, %v", target, err)
	}
}

// TestTruncatedCPIOIsRefused cuts off as TestTruncatedArchiveIsRefused does.
func TestTruncatedCPIOIsRefused(t *testing.T) {
	archive := odcArchive(odcDirectory("dir"), odcFile("dir/file"), odcSymlink("l", "target"))
	for cut := 0; cut < len(archive); cut += 7 {
		refused(t, ErrTruncated, func(host) []byte { return archive[:cut] })
	}
	refused(t, ErrTruncated, func(host) []byte { return archive[:len(archive)-1] })
}

// TestCPIOIsReadToItsEnd, as tar is: what follows the trailer counts for whoever computes a digest.
func TestCPIOIsReadToItsEnd(t *testing.T) {
	h := newHost(t)
	archive := append(odcArchive(odcFile("x")), bytes.Repeat([]byte("garbage"), 100_000)...)
	dir, err := os.Open(h.tree)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r := bytes.NewReader(archive)
	if err := Extract(t.Context(), r, dir, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	if r.Len() != 0 {
		t.Errorf("%d bytes were not read", r.Len())
	}
}

// TestTarThatLooksLikeCPIO has names that begin as cpio archives do.
func TestTarThatLooksLikeCPIO(t *testing.T) {
	for _, name := range []string{"070701", "070707.txt", "\xc7\x71", "\x71\xc7"} {
		h := newHost(t)
		archive := hostile(t, tar.Header{Name: name, Format: tar.FormatGNU})
		if err := h.attack(t, archive, Limits{}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(h.tree, name)); string(got) != "evil" {
			t.Errorf("%q has %q, %v", name, got, err)
		}
	}
}

// TestTarHasNoSockets: the kind that cpio has beyond tar is none of tar's.
func TestTarHasNoSockets(t *testing.T) {
	refused(t, ErrFormat, func(host) []byte { return hostile(t, tar.Header{Name: "x", Typeflag: 0o14}) })
}

// TestCPIOSocket: a socket is made as a node, and nothing listens.
func TestCPIOSocket(t *testing.T) {
	h := newHost(t)
	if err := h.attack(t, odcArchive(odc("s", 0o140600, 1, 1, 0, "")), Limits{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.tree, "s")
	if st, err := os.Lstat(path); err != nil || st.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	var dialer net.Dialer
	if c, err := dialer.DialContext(t.Context(), "unix", path); err == nil {
		c.Close()
		t.Error("somebody listens")
	}
}
