package compress

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"
)

// The sizes and marks of "The .xz File Format" 1.2.1, sections 2.1 to 4.
const (
	xzHeaderLen   = 12
	xzFooterLen   = 12
	xzFooterMagic = "YZ"
	// xzMaxVarint is how many bytes an encoded integer of 63 bits takes.
	xzMaxVarint = 9
)

// xzStreams decodes .xz files in Go. The container is read here, and only the
// LZMA2 data within it by a library: so every window is checked against the
// limit before it is allocated, and a file that ends between two blocks is seen
// to be cut.
type xzStreams struct {
	in     *counter
	flags  [2]byte // of the stream under way
	begun  bool    // within a stream
	block  *xzBlock
	blocks xzRecords // of the stream under way
	first  bool
}

func newXZStreams(in *bufio.Reader) *xzStreams {
	return &xzStreams{in: &counter{in: in}, first: true}
}

func (x *xzStreams) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.advance(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := x.block.Read(p)
		if errors.Is(err, io.EOF) {
			x.blocks.add(x.block.unpadded, x.block.uncompressed)
			x.block, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// advance begins to decode the next block. io.EOF is the end of the last stream.
func (x *xzStreams) advance() error {
	header, err := x.next()
	if header == nil || err != nil {
		return err
	}
	x.block, err = newXZBlock(x.in, header, x.flags)
	return err
}

// next reads the header of the next block, or returns nil where a stream ends or
// begins. io.EOF is the end of the last stream.
func (x *xzStreams) next() (*xzBlockHeader, error) {
	if !x.begun {
		return nil, x.beginStream()
	}
	size, err := x.in.ReadByte()
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, x.endStream()
	}
	return readXZBlockHeader(x.in, size)
}

func (x *xzStreams) beginStream() error {
	if !x.first {
		if err := x.skipPadding(); err != nil {
			return err
		}
	}
	x.first = false
	magic, err := x.in.in.Peek(len(xzMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !strings.HasPrefix(xzMagic, string(magic)) {
		return ErrTrailingData
	}
	var head [xzHeaderLen]byte
	if _, err := io.ReadFull(x.in, head[:]); err != nil {
		return unexpected(err)
	}
	x.flags = [2]byte(head[6:8])
	if crc32.ChecksumIEEE(x.flags[:]) != binary.LittleEndian.Uint32(head[8:]) {
		return fmt.Errorf("%w: checksum of the stream header", ErrCorrupt)
	}
	if x.flags[0] != 0 || x.flags[1]&0xf0 != 0 {
		return fmt.Errorf("%w: xz stream flags %x", ErrUnsupported, x.flags)
	}
	x.begun, x.blocks = true, newXZRecords()
	return nil
}

// skipPadding passes over the zero bytes, in fours, that may follow a stream. It
// returns io.EOF at the end of the file.
func (x *xzStreams) skipPadding() error {
	for zeros := 0; ; zeros++ {
		next, err := x.in.in.Peek(1)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err == nil && next[0] == 0 {
			_, _ = x.in.in.Discard(1) // it was peeked at
			continue
		}
		if zeros%4 != 0 {
			return fmt.Errorf("%w: %d bytes of padding after a stream", ErrCorrupt, zeros)
		}
		return err
	}
}

// endStream reads index and footer. The indicator byte of the index is read.
func (x *xzStreams) endStream() error {
	crc := crc32.NewIEEE()
	_, _ = crc.Write([]byte{0}) // a hash never fails
	start := x.in.n - 1
	index := io.TeeReader(x.in, crc)
	count, err := readVarint(index)
	if err != nil {
		return err
	}
	if count != x.blocks.count {
		return fmt.Errorf("%w: index of %d blocks in a stream of %d", ErrCorrupt, count, x.blocks.count)
	}
	listed := newXZRecords()
	for range count {
		unpadded, err := readVarint(index)
		if err != nil {
			return err
		}
		uncompressed, err := readVarint(index)
		if err != nil {
			return err
		}
		listed.add(unpadded, uncompressed)
	}
	if !listed.equal(x.blocks) {
		return fmt.Errorf("%w: index differs from the blocks", ErrCorrupt)
	}
	if err := readZeros(index, padding(x.in.n-start)); err != nil {
		return err
	}
	var sum [4]byte
	if _, err := io.ReadFull(x.in, sum[:]); err != nil {
		return unexpected(err)
	}
	if crc.Sum32() != binary.LittleEndian.Uint32(sum[:]) {
		return fmt.Errorf("%w: checksum of the index", ErrCorrupt)
	}
	x.begun = false
	return x.checkFooter(x.in.n - start)
}

func (x *xzStreams) checkFooter(indexSize uint64) error {
	var foot [xzFooterLen]byte
	if _, err := io.ReadFull(x.in, foot[:]); err != nil {
		return unexpected(err)
	}
	backward := (uint64(binary.LittleEndian.Uint32(foot[4:8])) + 1) * 4
	switch {
	case string(foot[10:]) != xzFooterMagic,
		crc32.ChecksumIEEE(foot[4:10]) != binary.LittleEndian.Uint32(foot[:4]),
		backward != indexSize,
		!bytes.Equal(foot[8:10], x.flags[:]):
		return fmt.Errorf("%w: stream footer", ErrCorrupt)
	}
	return nil
}

// xzRecords is the list of block sizes, as a digest: its length is up to the
// writer of the file.
type xzRecords struct {
	count  uint64
	digest hash.Hash
}

func newXZRecords() xzRecords { return xzRecords{digest: sha256.New()} }

func (r *xzRecords) add(unpadded, uncompressed uint64) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], unpadded)
	binary.LittleEndian.PutUint64(b[8:], uncompressed)
	_, _ = r.digest.Write(b[:]) // a hash never fails
	r.count++
}

func (r *xzRecords) equal(other xzRecords) bool {
	return r.count == other.count && bytes.Equal(r.digest.Sum(nil), other.digest.Sum(nil))
}

// counter counts what is read and knows no orderly end: wherever it is read, the
// file must go on.
type counter struct {
	in *bufio.Reader
	n  uint64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += uint64(n)
	return n, unexpected(err)
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.in.ReadByte()
	if err == nil {
		c.n++
	}
	return b, unexpected(err)
}
