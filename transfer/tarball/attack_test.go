package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/transfer/tarball/pax"

	"golang.org/x/sys/unix"
)

// hostile builds an archive from headers as they stand; regular files get the payload "evil".
func hostile(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = 4
		}
		h.Uid, h.Gid = os.Getuid(), os.Getgid()
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("evil")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func regularAt(name string) tar.Header { return tar.Header{Name: name} }

func directoryAt(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }

func symlinkAt(name, target string) tar.Header {
	return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}
}

func hardlinkAt(name, target string) tar.Header {
	return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}
}

// patched changes every occurrence of a string to another of the same length, and repairs the header checksums.
func patched(t testing.TB, archive []byte, from, to string) []byte {
	t.Helper()
	if len(from) != len(to) || !bytes.Contains(archive, []byte(from)) {
		t.Fatalf("cannot replace %q by %q", from, to)
	}
	return repaired(bytes.ReplaceAll(archive, []byte(from), []byte(to)))
}

// repaired gives all blocks that look like headers the right checksum.
func repaired(archive []byte) []byte {
	for b := archive; len(b) >= 512; b = b[512:] {
		if string(b[257:262]) != "ustar" {
			continue
		}
		copy(b[148:156], "        ")
		sum := 0
		for _, c := range b[:512] {
			sum += int(c)
		}
		copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return archive
}

// host is a directory with files around the tree that no archive may touch.
type host struct{ base, tree string }

func newHost(t testing.TB) host {
	t.Helper()
	h := host{base: t.TempDir()}
	h.tree = mkdir(t, h.base, "tree")
	b := builder{t, h.base}
	b.file("victim", 100)
	b.file("outside/victim", 100)
	return h
}

// around is a snapshot of all but the content of the tree.
func (h host) around(t testing.TB) map[string]node {
	t.Helper()
	nodes := snapshot(t, h.base)
	for name := range nodes {
		if name == "tree" || strings.HasPrefix(name, "tree/") {
			delete(nodes, name)
		}
	}
	return nodes
}

// attack unpacks and checks that nothing around the tree has changed.
func (h host) attack(t testing.TB, archive []byte, limits Limits) error {
	t.Helper()
	before := h.around(t)
	err := extractInto(t, h.tree, archive, ExtractOptions{Limits: limits})
	diffTrees(t, before, h.around(t))
	return err
}

// refused checks that an archive is refused for the right reason and has no effect around the tree.
func refused(t *testing.T, want error, archive func(h host) []byte) {
	t.Helper()
	h := newHost(t)
	err := h.attack(t, archive(h), Limits{})
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if err != nil && !strings.Contains(err.Error(), "extract ") && !strings.Contains(err.Error(), "at byte") {
		t.Errorf("error %q does not say where", err)
	}
}

func TestPathsOutOfTheTreeAreRefused(t *testing.T) {
	for name, entry := range map[string]string{
		"parent":             "../victim",
		"parent inside":      "a/../../victim",
		"parent at the end":  "a/..",
		"parent only":        "..",
		"dot and parent":     "./../victim",
		"absolute":           "/victim",
		"dot and absolute":   ".//victim",
		"doubled slash":      "a//b",
		"two dots of prefix": "././a",
		"dot inside":         "a/./b",
		"dot at the end":     "a/.",
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, regularAt(entry)) })
			refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, directoryAt(entry)) })
			refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, regularAt("x"), hardlinkAt("y", entry)) })
		})
	}
	t.Run("host path", func(t *testing.T) {
		refused(t, ErrUnsafePath, func(h host) []byte { return hostile(t, regularAt(filepath.Join(h.base, "victim"))) })
	})
}

func TestFileThroughSymlinkIsRefused(t *testing.T) {
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, symlinkAt("link", "../outside"), regularAt("link/victim"))
	})
	refused(t, ErrUnsafePath, func(h host) []byte {
		return hostile(t, symlinkAt("link", h.base), regularAt("link/victim"))
	})
	// Even a link that stays inside is not followed.
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, directoryAt("dir"), symlinkAt("link", "dir"), regularAt("link/file"))
	})
}

func TestSymlinkChainIsRefused(t *testing.T) {
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, directoryAt("sub"), symlinkAt("sub/parent", ".."), symlinkAt("up", "sub/parent/.."),
			regularAt("up/victim"))
	})
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, symlinkAt("a", ".."), symlinkAt("a/b", ".."), regularAt("a/b/victim"))
	})
}

func TestSymlinkInPlaceOfDirectoryIsRefused(t *testing.T) {
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, directoryAt("dir"), symlinkAt("dir", "../outside"), regularAt("dir/victim"))
	})
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, directoryAt("a"), directoryAt("a/b"), regularAt("other"), symlinkAt("a/b", "../../outside"),
			regularAt("a/b/victim"))
	})
}

func TestDirectoryEntryReplacesSymlink(t *testing.T) {
	h := newHost(t)
	archive := hostile(t, symlinkAt("dir", "../outside"), tar.Header{Name: "dir", Typeflag: tar.TypeDir, Mode: 0o711},
		regularAt("dir/victim"))
	if err := h.attack(t, archive, Limits{}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(filepath.Join(h.tree, "dir"))
	if err != nil || st.Mode() != os.ModeDir|0o711 {
		t.Errorf("dir is %v, %v", st.Mode(), err)
	}
}

func TestFileEntryReplacesSymlink(t *testing.T) {
	h := newHost(t)
	if err := h.attack(t, hostile(t, symlinkAt("x", "../victim"), regularAt("x")), Limits{}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(h.tree, "x")); string(got) != "evil" {
		t.Errorf("content %q, %v", got, err)
	}
}

func TestHardlinkOutOfTheTreeIsRefused(t *testing.T) {
	refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, hardlinkAt("x", "../victim"), regularAt("x")) })
	refused(t, ErrUnsafePath, func(h host) []byte { return hostile(t, hardlinkAt("x", h.base+"/victim")) })
	refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, hardlinkAt("x", ".")) })
	refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, hardlinkAt("x", "./")) })
	refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, directoryAt("dir"), hardlinkAt("x", "dir")) })
	refused(t, unix.ENOENT, func(host) []byte { return hostile(t, hardlinkAt("x", "missing")) })
}

func TestHardlinkThroughSymlinkIsRefused(t *testing.T) {
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, symlinkAt("link", "../outside"), hardlinkAt("x", "link/victim"), regularAt("x"))
	})
}

// TestHardlinkToSymlink makes a second name of the link, not of what it points to, and writing replaces that name.
func TestHardlinkToSymlink(t *testing.T) {
	h := newHost(t)
	archive := hostile(t, symlinkAt("link", "../victim"), hardlinkAt("x", "link"))
	if err := h.attack(t, archive, Limits{}); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(h.tree, "x")); target != "../victim" {
		t.Errorf("x points to %q, %v", target, err)
	}
	if err := h.attack(t, hostile(t, regularAt("x")), Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := h.attack(t, hostile(t, hardlinkAt("link", "link")), Limits{}); err != nil {
		t.Errorf("link of a name to itself: %v", err)
	}
}

// TestWriteThroughHardlinkIsImpossible replaces the name, so the other name keeps its content.
func TestWriteThroughHardlinkIsImpossible(t *testing.T) {
	h := newHost(t)
	if err := os.Link(filepath.Join(h.base, "victim"), filepath.Join(h.tree, "x")); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(h.base, "victim"))
	if err != nil {
		t.Fatal(err)
	}
	if err := extractInto(t, h.tree, hostile(t, regularAt("x")), ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(filepath.Join(h.base, "victim")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("HOST FILE CHANGED: %v", err)
	}
}

func TestRootHasToBeADirectory(t *testing.T) {
	for _, name := range []string{".\x00", "./"} {
		refused(t, ErrUnsafePath, func(host) []byte {
			return patched(t, hostile(t, symlinkAt(".X", "../outside"), regularAt("victim")), ".X", name)
		})
		refused(t, ErrUnsafePath, func(host) []byte {
			return patched(t, hostile(t, hardlinkAt(".X", "../outside/victim")), ".X", name)
		})
		refused(t, ErrUnsafePath, func(host) []byte {
			return patched(t, hostile(t, tar.Header{Name: ".X", Typeflag: tar.TypeChar}), ".X", name)
		})
	}
	// A slash at the end makes "./" a directory; without it this is a file.
	refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, regularAt(".")) })
}

func TestRootEntrySetsTheDirectory(t *testing.T) {
	for _, name := range []string{".", "./"} {
		h := newHost(t)
		archive := hostile(t, tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o751}, regularAt("x"))
		if err := h.attack(t, archive, Limits{}); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(h.tree); err != nil || st.Mode().Perm() != 0o751 || st.ModTime().Unix() > 0 {
			t.Errorf("root after %q: %v %v %v", name, st.Mode(), st.ModTime(), err)
		}
	}
}

func TestEmptyNameIsRefused(t *testing.T) {
	refused(t, ErrUnsafePath, func(host) []byte {
		return patched(t, hostile(t, regularAt("abc")), "abc", "\x00\x00\x00")
	})
}

func TestNULInNameIsRefused(t *testing.T) {
	long := strings.Repeat("n", 120)
	refused(t, ErrUnsafePath, func(host) []byte {
		return patched(t, hostile(t, regularAt(long)), "path="+long[:3], "path=n\x00n")
	})
	refused(t, ErrUnsafePath, func(host) []byte {
		return patched(t, hostile(t, regularAt("x"), hardlinkAt("y", long)), "linkpath="+long[:3], "linkpath=n\x00n")
	})
}

func TestLongNameIsRefused(t *testing.T) {
	refused(t, ErrUnsafePath, func(host) []byte { return hostile(t, regularAt(strings.Repeat("long/", 900)+"x")) })
	refused(t, unix.ENAMETOOLONG, func(host) []byte { return hostile(t, regularAt(strings.Repeat("l", 256))) })
}

func TestDeepPathIsRefused(t *testing.T) {
	deep := strings.Repeat("d/", 199) + "file"
	refused(t, ErrTooDeep, func(host) []byte { return hostile(t, regularAt(deep)) })
	refused(t, ErrTooDeep, func(host) []byte { return hostile(t, regularAt("x"), hardlinkAt("y", deep)) })
	h := newHost(t)
	if err := h.attack(t, hostile(t, regularAt(strings.Repeat("d/", MaxDepth-1)+"file")), Limits{}); err != nil {
		t.Errorf("%d components: %v", MaxDepth, err)
	}
}

// TestDeviceNodesAreOnlyMade checks that nothing opens a node: reading from the FIFO would wait for ever.
func TestDeviceNodesAreOnlyMade(t *testing.T) {
	requireRoot(t)
	h := newHost(t)
	archive := hostile(t,
		tar.Header{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 0, Mode: 0o666},
		tar.Header{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o4755},
		regularAt("fifo2"), tar.Header{Name: "fifo2", Typeflag: tar.TypeFifo},
		hardlinkAt("disk", "sda"))
	if err := h.attack(t, archive, Limits{}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(h.tree, "disk"), &st); err != nil || st.Mode != unix.S_IFBLK|0o666 || st.Rdev != unix.Mkdev(8, 0) {
		t.Errorf("disk: mode %#o, device %#x, %v", st.Mode, st.Rdev, err)
	}
	refused(t, ErrUnsafePath, func(host) []byte {
		return hostile(t, tar.Header{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8}, regularAt("sda/x"))
	})
	refused(t, ErrFormat, func(host) []byte {
		return hostile(t, tar.Header{Name: "x", Typeflag: tar.TypeChar, Devmajor: 1 << 12})
	})
}

func TestUnknownTypeIsRefused(t *testing.T) {
	refused(t, ErrUnsupported, func(host) []byte { return hostile(t, tar.Header{Name: "x", Typeflag: 'M'}) })
}

func TestOwnerOutOfRangeIsRefused(t *testing.T) {
	for _, uid := range []string{"4294967295", "4294967296", "-1"} {
		archive := hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{"BERTH.uid": strings.Repeat("u", len(uid))}})
		old := "BERTH.uid=" + strings.Repeat("u", len(uid))
		pad := "uid=" + uid
		// Same length, so that the record stays whole: "BERTH.uid=uuu" becomes "uid=000000NNN".
		fill := "uid=" + strings.Repeat("0", len(old)-len(pad)) + uid
		if uid[0] == '-' {
			fill = "uid=-" + strings.Repeat("0", len(old)-len(pad)) + uid[1:]
		}
		refused(t, ErrFormat, func(host) []byte { return patched(t, archive, old, fill) })
	}
}

func TestNonEmptyDirectoryIsNotReplaced(t *testing.T) {
	refused(t, unix.ENOTEMPTY, func(host) []byte {
		return hostile(t, directoryAt("dir"), regularAt("dir/file"), regularAt("dir"))
	})
}

func TestLimits(t *testing.T) {
	small := hostile(t, regularAt("a"), regularAt("b"))
	big := hostile(t, tar.Header{Name: "big", Size: 4})
	big = patched(t, big, "00000000004", "77777777777")
	for name, test := range map[string]struct {
		archive []byte
		limits  Limits
	}{
		"payload, promised": {big, Limits{Bytes: 1 << 20}},
		"payload, default":  {hostilePAXSize(t, "99999999999999"), Limits{}},
		"bytes":             {small, Limits{Bytes: int64(len(small)) - 1}},
		"garbage after end": {append(append([]byte{}, small...), make([]byte, 1<<20)...), Limits{Bytes: 1 << 20}},
		"entries":           {small, Limits{Entries: 1}},
		"records": {
			hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{"BERTH.x": strings.Repeat("x", 2000)}}),
			Limits{Records: 1000},
		},
		"records, default": {manyRecords(t, 1<<20), Limits{}},
		"attributes": {
			hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{
				"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": "2",
			}}),
			Limits{Xattrs: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if err := h.attack(t, test.archive, test.limits); !errors.Is(err, ErrLimit) {
				t.Errorf("got %v", err)
			}
		})
	}
	h := newHost(t)
	if err := h.attack(t, small, Limits{Bytes: int64(len(small)), Entries: 2}); err != nil {
		t.Errorf("archive that just fits: %v", err)
	}
}

// manyRecords describes one entry with an attribute of the given size.
func manyRecords(t testing.TB, size int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := pax.NewWriter(&buf)
	h := &pax.Header{Name: "x", Type: pax.TypeRegular, Xattrs: []pax.Xattr{{Name: "user.x", Value: make([]byte, size)}}}
	if err := errors.Join(w.WriteHeader(h), w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// hostilePAXSize promises a size that the header block has no room for.
func hostilePAXSize(t testing.TB, size string) []byte {
	t.Helper()
	key := "BERTH.s=" + strings.Repeat("s", len(size))
	archive := hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{"BERTH.s": strings.Repeat("s", len(size))}})
	return patched(t, archive, key, "size="+strings.Repeat("0", len(key)-len(size)-5)+size)
}

// sparseArchive is a sparse file in GNU's form 1.0 with the given map in front of the data.
func sparseArchive(t testing.TB, realSize, sparseMap string, data int) []byte {
	t.Helper()
	body := append([]byte(sparseMap), make([]byte, -len(sparseMap)&511)...)
	body = append(body, bytes.Repeat([]byte{'d'}, data)...)
	key := func(name string) string { return strings.Replace(name, "GNU.", "gnu.", 1) }
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	h := &tar.Header{
		Name: "sparse", Typeflag: tar.TypeReg, Size: int64(len(body)), Uid: os.Getuid(), Gid: os.Getgid(),
		PAXRecords: map[string]string{
			key("GNU.sparse.major"): "1", key("GNU.sparse.minor"): "0",
			key("GNU.sparse.name"): "sparse", key("GNU.sparse.realsize"): realSize,
		},
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return patched(t, buf.Bytes(), "gnu.sparse", "GNU.sparse")
}

func TestSparseMaps(t *testing.T) {
	h := newHost(t)
	if err := h.attack(t, sparseArchive(t, "8192", "1\n4096\n512\n", 512), Limits{}); err != nil {
		t.Fatalf("good map: %v", err)
	}
	for name, test := range map[string]struct {
		size, sparseMap string
		want            error
	}{
		"giant count":       {"8192", "999999999999\n0\n0\n", ErrLimit},
		"count past entry":  {"8192", "500\n4096\n512\n", ErrFormat},
		"overflow":          {"8192", "1\n99999999999999999999\n512\n", ErrFormat},
		"past the end":      {"4096", "1\n4096\n512\n", ErrFormat},
		"wraps around":      {"8192", "1\n9223372036854775807\n512\n", ErrFormat},
		"overlap":           {"8192", "2\n0\n512\n0\n512\n", ErrFormat},
		"more than stored":  {"8192", "1\n0\n1024\n", ErrFormat},
		"negative":          {"8192", "1\n-1\n512\n", ErrFormat},
		"not a number":      {"8192", "x\n", ErrFormat},
		"negative realsize": {"-1", "1\n0\n512\n", ErrFormat},
		"beyond the kernel": {"9223372036854775807", "1\n0\n512\n", unix.EFBIG},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, test.want, func(host) []byte { return sparseArchive(t, test.size, test.sparseMap, 512) })
		})
	}
}

func TestTruncatedArchiveIsRefused(t *testing.T) {
	archive := hostile(t, directoryAt("dir"), regularAt("dir/file"), tar.Header{Name: strings.Repeat("n", 120)})
	for cut := range len(archive) - 1024 {
		if cut%512 != 0 && cut%97 != 0 {
			continue
		}
		h := newHost(t)
		if err := h.attack(t, archive[:cut], Limits{}); !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	// One zero block says that the end is meant.
	h := newHost(t)
	if err := h.attack(t, archive[:len(archive)-512], Limits{}); err != nil {
		t.Errorf("one zero block: %v", err)
	}
}

func TestGarbageAfterTheEndIsReadAndIgnored(t *testing.T) {
	h := newHost(t)
	archive := append(hostile(t, regularAt("x")), bytes.Repeat([]byte("garbage"), 100_000)...)
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

func TestSourceErrorIsKept(t *testing.T) {
	cause := errors.New("checksum of the stream is wrong")
	for _, at := range []int{0, 100, 700, 1500, 3000} {
		archive := hostile(t, regularAt("x"))
		h := newHost(t)
		dir, err := os.Open(h.tree)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		r := io.MultiReader(bytes.NewReader(archive[:min(at, len(archive))]), failing{cause})
		if err := Extract(t.Context(), r, dir, ExtractOptions{}); !errors.Is(err, cause) {
			t.Errorf("failure at %d: got %v", at, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestGarbageIsNotAnArchive(t *testing.T) {
	refused(t, ErrFormat, func(host) []byte { return bytes.Repeat([]byte("not a tar archive\n"), 100) })
	refused(t, ErrTruncated, func(host) []byte { return nil })
}
