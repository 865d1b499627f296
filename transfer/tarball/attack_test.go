package tarball

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
