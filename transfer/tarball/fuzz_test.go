package tarball

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

// fuzzSeeds are the shapes of attack that the other tests make, so that the fuzzer mixes them.
func fuzzSeeds(t testing.TB) [][]byte {
	t.Helper()
	return [][]byte{
		nil,
		hostile(t, regularAt("a/b"), hardlinkAt("c", "a/b"), symlinkAt("d", "a")),
		hostile(t, regularAt("../victim")),
		hostile(t, symlinkAt("l", ".."), regularAt("l/victim")),
		hostile(t, directoryAt("dir"), symlinkAt("dir", "../outside"), regularAt("dir/victim")),
		hostile(t, symlinkAt("l", "../outside"), hardlinkAt("x", "l/victim"), regularAt("x")),
		hostile(t, hardlinkAt("x", "../victim"), regularAt("x")),
		hostile(t, directoryAt("./"), directoryAt("a/"), directoryAt("b/"), regularAt("a/x")),
		hostile(t, tar.Header{Name: "fifo", Typeflag: tar.TypeFifo}, regularAt("fifo")),
		hostile(t, tar.Header{Name: strings.Repeat("long/", 40), Typeflag: tar.TypeDir, PAXRecords: map[string]string{
			"SCHILY.xattr.user.x": "1", "LIBARCHIVE.xattr.user.y": "MQ", "SCHILY.fflags": "nodump",
			"SCHILY.acl.access": "user::rwx,group::r-x,other::---", "SCHILY.acl.default": "user::rwx,g:5:rwx,o::---",
		}}),
		hostile(t, tar.Header{Name: strings.Repeat("g", 150), Format: tar.FormatGNU}),
		sparseArchive(t, "8192", "1\n4096\n512\n", 512),
		odcArchive(odcDirectory("a"), odcSymlink("a/l", ".."), odcFile("a/l/victim")),
		odcArchive(odc("x", 0o100644, 5, 2, 0, "evil"), odcSymlink("x", "../victim"), odc("y", 0o100644, 5, 2, 0, "evil")),
		odcArchive(odc("fifo", 0o010600, 5, 2, 0, ""), odc("s", 0o140600, 6, 1, 0, ""), odcFile("fifo")),
	}
}

// FuzzExtract unpacks anything and checks that nothing around the tree changes.
func FuzzExtract(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		archive = repaired(bytes.Clone(archive)) // nothing else would get past the checksums
		h := newHost(t)
		if h.attack(t, archive, Limits{Bytes: 1 << 20, Entries: 1000}) == nil {
			// What could be unpacked can be packed.
			createFrom(t, h.tree, CreateOptions{})
		}
	})
}

// FuzzACL checks that no text makes a value that cannot be turned back.
func FuzzACL(f *testing.F) {
	for _, text := range []string{
		"", "user::rwx,group::r-x,other::---", "u::rwx\ng:5:r--\t#effective:r--\nm::rwx\no::x", "user:lisa:rwx:1000",
		"mask:r--,other:r--", "user:4294967295:rwx", "default:user::rwx", ":::", "user:::::",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, _, err := parseACL(text, 0o755)
		if err != nil {
			return
		}
		formatted, err := formatACL(value)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, dropped, err := parseACL(formatted, 0)
		if err != nil || dropped != 0 || string(again) != string(value) {
			t.Errorf("%q became %q: %d dropped, %v", text, formatted, dropped, err)
		}
	})
}
