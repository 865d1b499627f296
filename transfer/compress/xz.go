package compress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const xzMagic = "\xfd7zXZ\x00"

// newXZReader prefers xz(1), whose decoder is three times as fast as the one in
// Go and uses all cores.
func (t Tools) newXZReader(ctx context.Context, in *bufio.Reader) (io.ReadCloser, error) {
	path := t.find("xz")
	version := xzVersion(ctx, path)
	if version == 0 {
		return io.NopCloser(newXZStreams(in)), nil
	}
	args := []string{"--decompress", "--stdout", "--quiet", "--memlimit-decompress=" + strconv.Itoa(xzMemory)}
	if version >= xzThreads {
		memory := t.XZMemory
		if memory == 0 {
			memory = DefaultXZMemory
		}
		args = append(args, "--threads=0", "--memlimit-mt-decompress="+strconv.FormatUint(memory, 10))
	}
	cmd, said := command(ctx, path, args...)
	return startReader(ctx, cmd, said, in, xzError)
}

const (
	// xzMemory holds a window of maxWindow and what else the decoder needs.
	xzMemory = maxWindow + 2<<20
	// xzThreads is the first version that decodes in parallel: 5.4.0.
	xzThreads = 50040002
)

// xzVersion asks the program for its version as a number; 0 means that there is
// none that can be used. busybox has an xz that knows neither the question nor
// the options.
func xzVersion(ctx context.Context, path string) int {
	if path == "" {
		return 0
	}
	cmd, _ := command(ctx, path, "--robot", "--version")
	out, err := cmd.Output()
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(out)) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), "XZ_VERSION="); ok {
			if v, err := strconv.Atoi(number); err == nil {
				return v
			}
		}
	}
	return 0
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
