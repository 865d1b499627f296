package compress_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/transfer/compress"
)

// Pieces that take long and pieces that do not arrive in their order.
func TestWriterKeepsOrderOfPieces(t *testing.T) {
	var data []byte
	for range 3 {
		data = append(data, payload(3_600_000)...)
		data = append(data, make([]byte, 5_000_000)...)
	}
	var out bytes.Buffer
	if err := encode(t.Context(), compress.HostTools(), &out, compress.Bzip2, data); err != nil {
		t.Fatal(err)
	}
	if got := run(t, out.Bytes(), "bzip2", "-dc"); !bytes.Equal(got, data) {
		t.Errorf("bzip2 made %d bytes of it, want %d", len(got), len(data))
	}
}

// fakeBzip2 is a program that does what a shell script does.
func fakeBzip2(t *testing.T, script string) compress.Tools {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bzip2"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return compress.Tools{Dirs: []string{dir}}
}

// One of several programs fails: that is what is said, and nothing after its piece
// is written.
func TestWriterReportsFailedPiece(t *testing.T) {
	tools := fakeBzip2(t, `read -r first; cat >/dev/null
case $first in bad) echo no more >&2; exit 7;; esac; echo "$first"`)
	const size = 2 * 899_000
	data := bytes.Repeat([]byte("x\n"), 6*size/2)
	copy(data, "good\n")
	copy(data[size:], "bad\n")
	var out bytes.Buffer
	err := encode(t.Context(), tools, &out, compress.Bzip2, data)
	if err == nil || !strings.Contains(err.Error(), "no more (exit status 7)") {
		t.Errorf("got %v", err)
	}
	if out.String() != "good\n" {
		t.Errorf("written: %q", out.String())
	}
}

func TestWriterOfPiecesEndsWithContext(t *testing.T) {
	cause := errors.New("cancelled by hand")
	ctx, cancel := context.WithCancelCause(t.Context())
	z, err := fakeBzip2(t, "exec sleep 1000").NewWriter(ctx, io.Discard, compress.Bzip2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(payload(2_000_000)); err != nil {
		t.Error(err)
	}
	cancel(cause)
	if err := z.Close(); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if _, err := z.Write([]byte("x")); !errors.Is(err, compress.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}
