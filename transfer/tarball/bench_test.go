package tarball

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"berth/fixtures/loopfs"
)

// makeSystemTree resembles a minimal system: 6,000 files of which most are small, in 600 directories.
func makeSystemTree(t testing.TB, root string) {
	b := builder{t, root}
	for dir := range 600 {
		for file := range 10 {
			b.file(fmt.Sprintf("usr/share/d%d/d%d/file%d", dir%30, dir, file), (dir*7919+file*104729)%(20<<10)*(1+file/9*4))
		}
		b.must(os.Symlink("../somewhere/else", b.path(fmt.Sprintf("usr/share/d%d/d%d/link", dir%30, dir))))
	}
}

// freshDir is on a file system of its own: a used ext4 avoids inodes that were freed lately, which costs more than all
// that is to be measured.
func freshDir(b *testing.B) string {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	return mkdir(b, loopfs.Mount(b, "ext4", 400), "target")
}

func BenchmarkExtract(b *testing.B) {
	source := b.TempDir()
	makeSystemTree(b, source)
	archive := createFrom(b, source, CreateOptions{})
	b.SetBytes(int64(len(archive)))
	b.ReportAllocs()
	for b.Loop() {
		target := freshDir(b)
		if err := extractInto(b, target, archive, ExtractOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExtractGNUTar is what to compare with.
func BenchmarkExtractGNUTar(b *testing.B) {
	requireTool(b, "tar")
	source, base := b.TempDir(), b.TempDir()
	makeSystemTree(b, source)
	archive := filepath.Join(base, "archive")
	if err := os.WriteFile(archive, createFrom(b, source, CreateOptions{}), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		run(b, base, "tar", "-x", "-p", "--numeric-owner", "-f", archive, "-C", freshDir(b))
	}
}

func BenchmarkCreate(b *testing.B) {
	source := b.TempDir()
	makeSystemTree(b, source)
	b.SetBytes(int64(len(createFrom(b, source, CreateOptions{}))))
	b.ReportAllocs()
	dir, err := os.Open(source)
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	for b.Loop() {
		if err := Create(b.Context(), io.Discard, dir, CreateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
