package compress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
)

const xzMagic = "\xfd7zXZ\x00"

// newXZReader prefers xz(1), whose decoder is three times as fast as the one in
// Go, and runs two of them where the file allows it. The parallel decoder of xz(1)
// itself takes 70 MiB for blocks of 24 MiB.
func (t Tools) newXZReader(ctx context.Context, in *bufio.Reader) (io.ReadCloser, error) {
	path := t.find("xz")
	if !isXZ(ctx, path) {
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("ask %s for its version: %w: %w", path, errChild, cause)
		}
		return io.NopCloser(newXZStreams(in)), nil
	}
	start := func(in io.Reader) (*childReader, error) {
		cmd, said := command(ctx, path, "--decompress", "--stdout", "--quiet", "--threads=1",
			"--memlimit-decompress="+strconv.Itoa(xzMemory))
		return startReader(ctx, cmd, said, in, xzError)
	}
	if runtime.GOMAXPROCS(0) >= xzSide {
		return newXZPieces(ctx, in, start), nil
	}
	return start(in)
}

// xzMemory holds a window of maxWindow and what else the decoder needs.
const xzMemory = maxWindow + 2<<20

// isXZ asks the program for its version. busybox has an xz that knows neither the
// question nor the options.
func isXZ(ctx context.Context, path string) bool {
	if path == "" {
		return false
	}
	cmd, _ := command(ctx, path, "--robot", "--version")
	out, err := cmd.Output()
	return err == nil && bytes.HasPrefix(out, []byte("XZ_VERSION="))
}

// xzError finds the meaning of what xz(1) said in the C locale.
func xzError(said string) error {
	for _, known := range []struct {
		text string
		err  error
	}{
		{"Unexpected end of input", io.ErrUnexpectedEOF},
		{"Memory usage limit reached", ErrMemory},
		{"Compressed data is corrupt", ErrCorrupt},
		{"File format not recognized", ErrCorrupt},
		{"Unsupported", ErrUnsupported},
	} {
		if strings.Contains(said, known.text) {
			return fmt.Errorf("%w", known.err)
		}
	}
	return errChild
}
