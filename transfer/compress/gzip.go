package compress

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"berth/transfer/compress/inflate"
)

// gzipReader decodes members one by one, so that it sees what lies between them.
type gzipReader struct {
	in   *bufio.Reader
	data *inflate.Reader
	rest []byte // decoded, and not read
	sum  uint32 // of the member under way
	size uint32
	err  error
}

var (
	_ io.ReadCloser = (*gzipReader)(nil)
	_ io.WriterTo   = (*gzipReader)(nil)
)

func newGzipReader(in *bufio.Reader) (*gzipReader, error) {
	if err := gzipHeader(in); err != nil {
		return nil, err
	}
	return &gzipReader{in: in, data: inflate.NewReader(in)}, nil
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for len(g.rest) == 0 {
		if err := g.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func (g *gzipReader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		n, err := w.Write(g.rest)
		total += int64(n)
		g.rest = g.rest[n:]
		if err == nil {
			err = g.advance()
		}
		if ended(err) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// advance decodes more, over the ends of members.
func (g *gzipReader) advance() error {
	if g.err != nil {
		return g.err
	}
	g.rest, g.err = g.data.Next()
	if ended(g.err) {
		if g.err = g.trailer(); g.err == nil {
			g.err = g.next()
		}
		return g.err
	}
	g.sum = crc32.Update(g.sum, crc32.IEEETable, g.rest)
	g.size += uint32(len(g.rest))
	return g.err
}

// trailer compares a member with the checksum and the size behind it.
func (g *gzipReader) trailer() error {
	var b [8]byte
	if _, err := io.ReadFull(g.in, b[:]); err != nil {
		return unexpected(err)
	}
	if binary.LittleEndian.Uint32(b[:4]) != g.sum || binary.LittleEndian.Uint32(b[4:]) != g.size {
		return fmt.Errorf("%w: checksum of a member", ErrCorrupt)
	}
	return nil
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
	g.sum, g.size = 0, 0
	g.data.Reset()
	return gzipHeader(g.in)
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
