package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
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
