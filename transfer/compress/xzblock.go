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

// xzBlockHeader is what a block begins with.
type xzBlockHeader struct {
	raw        []byte
	compressed uint64 // promised size, or xzUnknownSize
	promised   uint64 // uncompressed size, or xzUnknownSize
	filters    error  // why they are not understood here
	window     int
}

// readXZBlockHeader reads a block header whose first byte is size.
func readXZBlockHeader(in io.Reader, size byte) (*xzBlockHeader, error) {
	h := &xzBlockHeader{raw: make([]byte, (int(size)+1)*4)}
	h.raw[0] = size
	if _, err := io.ReadFull(in, h.raw[1:]); err != nil {
		return nil, unexpected(err)
	}
	body, sum := h.raw[:len(h.raw)-4], h.raw[len(h.raw)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return nil, fmt.Errorf("%w: checksum of a block header", ErrCorrupt)
	}
	err := h.parse(body[1], bytes.NewReader(body[2:]))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: block header too short", ErrCorrupt)
	}
	return h, err
}

func (h *xzBlockHeader) parse(flags byte, body *bytes.Reader) (err error) {
	if flags&xzReservedFlags != 0 {
		return fmt.Errorf("%w: xz block flags %#x", ErrUnsupported, flags)
	}
	h.compressed, h.promised = xzUnknownSize, xzUnknownSize
	if flags&xzHasCompressed != 0 {
		if h.compressed, err = readVarint(body); err != nil {
			return err
		}
	}
	if flags&xzHasUncompressed != 0 {
		if h.promised, err = readVarint(body); err != nil {
			return err
		}
	}
	filter, err := readVarint(body)
	if err != nil {
		return err
	}
	if filter != xzFilterLZMA2 || flags&3 != 0 {
		h.filters = fmt.Errorf("%w: xz filters other than LZMA2 (the first is %#x); xz(1) can decode them", ErrUnsupported, filter)
		return nil
	}
	var properties [2]byte // their size, 1, and the size of the window
	if _, err := io.ReadFull(body, properties[:]); err != nil {
		return unexpected(err)
	}
	if h.window, err = xzWindow(properties); err != nil {
		return err
	}
	return readZeros(body, uint64(body.Len()))
}

// xzBlock decodes one block.
type xzBlock struct {
	in           *counter
	header       *xzBlockHeader
	data         *lzma.Reader2
	check        hash.Hash // nil: none
	littleEndian bool      // how the check is stored
	start        uint64    // of the compressed data
	uncompressed uint64    // so far
	unpadded     uint64    // size for the index, set at the end
}

// newXZBlock decodes the block that a header was read of.
func newXZBlock(in *counter, h *xzBlockHeader, flags [2]byte) (*xzBlock, error) {
	if h.filters != nil {
		return nil, h.filters
	}
	b := &xzBlock{in: in, header: h, start: in.n}
	var err error
	if b.check, b.littleEndian, err = xzCheck(flags[1]); err != nil {
		return nil, err
	}
	if b.data, err = (lzma.Reader2Config{DictCap: h.window}).NewReader2(in); err != nil {
		return nil, err
	}
	return b, nil
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
	b.unpadded = uint64(len(b.header.raw)) + compressed
	if h := b.header; h.compressed != xzUnknownSize && h.compressed != compressed ||
		h.promised != xzUnknownSize && h.promised != b.uncompressed {
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
