package tarball

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"berth/fixtures/loopfs"
)

func extractInto(t testing.TB, dir string, archive []byte, opts ExtractOptions) error {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return Extract(t.Context(), bytes.NewReader(archive), f, opts)
}

func createFrom(t testing.TB, dir string, opts CreateOptions) []byte {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var buf bytes.Buffer
	if err := Create(t.Context(), &buf, f, opts); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func mkdir(t testing.TB, elements ...string) string {
	t.Helper()
	dir := filepath.Join(elements...)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// feed runs a program with the archive as its standard input.
func feed(t testing.TB, archive []byte, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", argv, err, out)
	}
}

// noWarnings fails the test for everything that is reported.
func noWarnings(t testing.TB) func(string, error) {
	return func(entry string, err error) { t.Errorf("warning for %q: %v", entry, err) }
}

var gnuExtract = []string{"tar", "-x", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-p", "-C"}

// TestExtractOfGNUTar unpacks what GNU tar packed and compares with the source and with GNU tar's own result.
func TestExtractOfGNUTar(t *testing.T) {
	requireRoot(t)
	requireTool(t, "tar")
	for name, args := range map[string][]string{
		"pax":            {"--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "--sparse"},
		"pax sparse 0.0": {"--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "--sparse-version=0.0"},
		"pax sparse 0.1": {"--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "--sparse-version=0.1"},
		"gnu":            {"--format=gnu", "--sparse"},
	} {
		t.Run(name, func(t *testing.T) {
			base := loopfs.Mount(t, "ext4", 200)
			source, ours, theirs := mkdir(t, base, "source"), mkdir(t, base, "ours"), mkdir(t, base, "theirs")
			makeTree(t, source)
			builder{t, source}.fifo("dev/fifo")
			unlink(t, source, "dev/null2") // GNU tar packs links of a device as devices
			if args[0] == "--format=gnu" {
				// The format has no room for attributes, nor for this time.
				builder{t, source}.touch("time/far", 1, 0)
			}
			argv := append([]string{"tar", "-c", "--numeric-owner", "-C", source}, args...)
			archive := run(t, base, append(argv, ".")...)
			if err := extractInto(t, ours, archive, ExtractOptions{Warn: noWarnings(t)}); err != nil {
				t.Fatal(err)
			}
			feed(t, archive, append(gnuExtract, theirs)...)
			got := snapshot(t, ours)
			diffTrees(t, snapshot(t, theirs), got)
			if args[0] == "--format=pax" {
				want := snapshot(t, source)
				withoutFlags(want) // GNU tar does not know them
				diffTrees(t, want, got)
			}
		})
	}
}

// avoidBSDTar takes back what libarchive cannot carry: links of devices when packing, and fractions of a second before
// the epoch, which it gets wrong both ways.
func avoidBSDTar(t testing.TB, root string) {
	t.Helper()
	unlink(t, root, "dev/null2")
	b := builder{t, root}
	b.touch("dev", 1500000000, 987654321)
	b.touch("time/before-epoch", -100, 0)
}

func unlink(t testing.TB, elements ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(elements...)); err != nil {
		t.Fatal(err)
	}
}

func withoutFlags(tree map[string]node) {
	for name, n := range tree {
		n.Flags = ""
		tree[name] = n
	}
}

// TestExtractOfBSDTar unpacks what libarchive packed, in the forms of its own.
func TestExtractOfBSDTar(t *testing.T) {
	requireRoot(t)
	requireTool(t, "bsdtar")
	base := loopfs.Mount(t, "ext4", 200)
	source, ours := mkdir(t, base, "source"), mkdir(t, base, "ours")
	makeTree(t, source)
	builder{t, source}.fifo("dev/fifo")
	avoidBSDTar(t, source)
	archive := run(t, base, "bsdtar", "-c", "--format=pax", "--numeric-owner", "--acls", "--xattrs", "--fflags",
		"--read-sparse", "-f", "-", "-C", source, ".")
	if err := extractInto(t, ours, archive, ExtractOptions{Warn: noWarnings(t)}); err != nil {
		t.Fatal(err)
	}
	diffTrees(t, snapshot(t, source), snapshot(t, ours))
}

// TestCreateForOthers packs a tree and has every reader unpack it.
func TestCreateForOthers(t *testing.T) {
	requireRoot(t)
	for reader, argv := range map[string][]string{
		"berth":  nil,
		"tar":    gnuExtract,
		"bsdtar": {"bsdtar", "-x", "-p", "--acls", "--xattrs", "--fflags", "--numeric-owner", "-f", "-", "-C"},
	} {
		t.Run(reader, func(t *testing.T) {
			base := loopfs.Mount(t, "ext4", 200)
			source, target := mkdir(t, base, "source"), mkdir(t, base, "target")
			makeTree(t, source)
			if reader == "bsdtar" {
				avoidBSDTar(t, source)
			}
			want := snapshot(t, source)
			archive := createFrom(t, source, CreateOptions{Warn: noWarnings(t)})
			if argv == nil {
				if err := extractInto(t, target, archive, ExtractOptions{Warn: noWarnings(t)}); err != nil {
					t.Fatal(err)
				}
			} else {
				requireTool(t, argv[0])
				feed(t, archive, append(argv, target)...)
			}
			got := snapshot(t, target)
			switch reader {
			case "tar":
				withoutFlags(want)
			case "bsdtar":
				delete(want, ".") // it leaves the directory that it unpacks into as it is
				delete(got, ".")
			}
			diffTrees(t, want, got)
		})
	}
}

// TestOnBtrfs carries a tree from one subvolume to another, nested ones included.
func TestOnBtrfs(t *testing.T) {
	requireRoot(t)
	requireTool(t, "btrfs")
	base := loopfs.Mount(t, "btrfs", 300)
	source, target := filepath.Join(base, "source"), mkdir(t, base, "target")
	run(t, base, "btrfs", "subvolume", "create", source)
	makeTree(t, source)
	run(t, base, "btrfs", "subvolume", "create", filepath.Join(source, "nested"))
	builder{t, source}.file("nested/file", 100)
	builder{t, source}.file("nocow", 0)
	builder{t, source}.flags("nocow", flagNoCOW)
	builder{t, source}.file("nocow", 5000)
	builder{t, source}.touch(".", 1500000000, 1)
	archive := createFrom(t, source, CreateOptions{Warn: noWarnings(t)})
	if err := extractInto(t, target, archive, ExtractOptions{Warn: noWarnings(t)}); err != nil {
		t.Fatal(err)
	}
	want, got := snapshot(t, source), snapshot(t, target)
	if want["nested/file"].SHA256 == "" {
		t.Fatal("the nested subvolume is not in the snapshot")
	}
	diffTrees(t, want, got)
}
