package compress

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

const (
	xzHasCompressed   = 0x40
	xzHasUncompressed = 0x80
	xzReservedFlags   = 0x3c
	xzFilterLZMA2     = 0x21
	xzUnknownSize     = ^uint64(0)
)

// xzBlock decodes one block.
type xzBlock struct {
	in           *counter
	data         *lzma.Reader2
	check        hash.Hash // nil: none
	littleEndian bool      // how the check is stored
	headerSize   uint64
	start        uint64 // of the compressed data
	compressed   uint64 // promised, or xzUnknownSize
	promised     uint64 // uncompressed size, or xzUnknownSize
	uncompressed uint64 // so far
	unpadded     uint64 // size for the index, set at the end
}

// newXZBlock reads a block header whose first byte is size.
func newXZBlock(in *counter, size byte, flags [2]byte) (*xzBlock, error) {
	b := &xzBlock{in: in, headerSize: (uint64(size) + 1) * 4}
	var err error
	if b.check, b.littleEndian, err = xzCheck(flags[1]); err != nil {
		return nil, err
	}
	header := make([]byte, b.headerSize)
	header[0] = size
	if _, err := io.ReadFull(in, header[1:]); err != nil {
		return nil, unexpected(err)
	}
	body, sum := header[:len(header)-4], header[len(header)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return nil, fmt.Errorf("%w: checksum of a block header", ErrCorrupt)
	}
	window, err := b.parseHeader(body[1], bytes.NewReader(body[2:]))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: block header too short", ErrCorrupt)
	}
	if err != nil {
		return nil, err
	}
	b.start = in.n
	if b.data, err = (lzma.Reader2Config{DictCap: window}).NewReader2(in); err != nil {
		return nil, err
	}
	return b, nil
}

// parseHeader returns the size of the window.
func (b *xzBlock) parseHeader(flags byte, body *bytes.Reader) (window int, err error) {
	if flags&xzReservedFlags != 0 {
		return 0, fmt.Errorf("%w: xz block flags %#x", ErrUnsupported, flags)
	}
	b.compressed, b.promised = xzUnknownSize, xzUnknownSize
	if flags&xzHasCompressed != 0 {
		if b.compressed, err = readVarint(body); err != nil {
			return 0, err
		}
	}
	if flags&xzHasUncompressed != 0 {
		if b.promised, err = readVarint(body); err != nil {
			return 0, err
		}
	}
	filter, err := readVarint(body)
	if err != nil {
		return 0, err
	}
	if filter != xzFilterLZMA2 || flags&3 != 0 {
		return 0, fmt.Errorf("%w: xz filters other than LZMA2 (the first is %#x); xz(1) can decode them", ErrUnsupported, filter)
	}
	var properties [2]byte // their size, 1, and the size of the window
	if _, err := io.ReadFull(body, properties[:]); err != nil {
		return 0, unexpected(err)
	}
	if window, err = xzWindow(properties); err != nil {
		return 0, err
	}
	return window, readZeros(body, uint64(body.Len()))
}

// xzWindow decodes the properties of an LZMA2 filter, section 5.3.1.
func xzWindow(properties [2]byte) (int, error) {
	bits := properties[1]
	if properties[0] != 1 || bits > 40 {
		return 0, fmt.Errorf("%w: LZMA2 properties %x", ErrCorrupt, properties)
	}
	window := (2 | uint64(bits)&1) << (bits/2 + 11)
	if window > maxWindow {
		return 0, fmt.Errorf("%w: a window of %d MiB", ErrMemory, window>>20)
	}
	return int(window), nil
}

func (b *xzBlock) Read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	b.uncompressed += uint64(n)
	if b.check != nil {
		_, _ = b.check.Write(p[:n]) // a hash never fails
	}
	if errors.Is(err, io.EOF) {
		if err := b.end(); err != nil {
			return n, err
		}
	}
	return n, err
}

// end reads padding and check, and compares the sizes with the header.
func (b *xzBlock) end() error {
	compressed := b.in.n - b.start
	b.unpadded = b.headerSize + compressed
	if b.compressed != xzUnknownSize && b.compressed != compressed ||
		b.promised != xzUnknownSize && b.promised != b.uncompressed {
		return fmt.Errorf("%w: a block has another size than its header says", ErrCorrupt)
	}
	if err := readZeros(b.in, padding(compressed)); err != nil {
		return err
	}
	if b.check == nil {
		return nil
	}
	b.unpadded += uint64(b.check.Size())
	stored := make([]byte, b.check.Size())
	if _, err := io.ReadFull(b.in, stored); err != nil {
		return unexpected(err)
	}
	if b.littleEndian {
		slices.Reverse(stored)
	}
	if !bytes.Equal(stored, b.check.Sum(nil)) {
		return fmt.Errorf("%w: checksum of a block", ErrCorrupt)
	}
	return nil
}

// xzCheck returns the check of section 2.1.1.2 and whether it is stored as a
// little-endian number.
func xzCheck(id byte) (check hash.Hash, littleEndian bool, err error) {
	switch id {
	case 0:
		return nil, false, nil
	case 1:
		return crc32.NewIEEE(), true, nil
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), true, nil
	case 10:
		return sha256.New(), false, nil
	default:
		return nil, false, fmt.Errorf("%w: xz check %d", ErrUnsupported, id)
	}
}

// padding is how many zero bytes follow n bytes.
func padding(n uint64) uint64 { return -n & 3 }

func readZeros(r io.Reader, n uint64) error {
	zeros := make([]byte, n)
	if _, err := io.ReadFull(r, zeros); err != nil {
		return unexpected(err)
	}
	for _, z := range zeros {
		if z != 0 {
			return fmt.Errorf("%w: padding is not zero", ErrCorrupt)
		}
	}
	return nil
}

// readVarint reads an integer of section 1.2.
func readVarint(r io.Reader) (uint64, error) {
	var v uint64
	var b [1]byte
	for i := range xzMaxVarint {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, unexpected(err)
		}
		v |= uint64(b[0]&0x7f) << (7 * i)
		if b[0]&0x80 == 0 {
			if b[0] == 0 && i > 0 {
				break
			}
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: overlong integer", ErrCorrupt)
}
