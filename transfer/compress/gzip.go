package compress

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipReader decodes members one by one, so that it sees what lies between them.
type gzipReader struct {
	in     *bufio.Reader
	member *gzip.Reader
}

func newGzipReader(in *bufio.Reader) (*gzipReader, error) {
	member, err := gzip.NewReader(in)
	if err != nil {
		return nil, unexpected(err)
	}
	member.Multistream(false)
	return &gzipReader{in, member}, nil
}

func (g *gzipReader) Read(p []byte) (int, error) {
	n, err := g.member.Read(p)
	if errors.Is(err, io.EOF) {
		err = g.next()
	}
	return n, err
}

func (g *gzipReader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		n, err := g.member.WriteTo(w)
		total += n
		if err == nil {
			err = g.next()
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// next begins another member, or returns io.EOF when there is none. Zero bytes
// after a member are padding up to the block size of a tape or pipe, which
// gzip(1) passes over too; it also passes over anything else with a warning
// that nobody reads.
func (g *gzipReader) next() error {
	head, err := g.in.Peek(2)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case len(head) == 0:
		return io.EOF
	case head[0] == 0:
		return onlyZeros(g.in)
	case head[0] == 0x1f && len(head) == 1:
		return io.ErrUnexpectedEOF
	case head[0] != 0x1f || head[1] != 0x8b:
		return ErrTrailingData
	}
	if err := g.member.Reset(g.in); err != nil {
		return unexpected(err)
	}
	g.member.Multistream(false)
	return nil
}

// Close has nothing to release: the decoder would only repeat its last error.
func (g *gzipReader) Close() error { return nil }

// onlyZeros reads to the end and returns io.EOF if there was nothing but zeros.
func onlyZeros(in *bufio.Reader) error {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return ErrTrailingData
		}
	}
}

// unexpected turns an end of data in the middle of a structure into the error it
// is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
