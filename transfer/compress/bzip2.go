package compress

import (
	"bufio"
	"compress/bzip2"
	"io"
)

// newBzip2Reader decodes all streams: compress/bzip2 goes on after the end of
// one by itself.
func newBzip2Reader(in *bufio.Reader) io.ReadCloser {
	return io.NopCloser(bzip2.NewReader(in))
}
