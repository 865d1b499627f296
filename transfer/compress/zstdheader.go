package compress

import (
	"encoding/binary"
	"math"
)

// Of frames, RFC 8878 sections 3.1.1.1 and 3.1.2.
const (
	zstdMagic     = 0xfd2fb528
	zstdMaxHeader = 18

	zstdSkipMagic     = 0x184d2a50 // and the next fifteen
	zstdSkipHeaderLen = 8

	zstdSingle   = 1 << 5 // flags of the descriptor
	zstdReserved = 1 << 3
	zstdChecked  = 1 << 2
)

// zstdUnknown is the size of a content whose size is not known. Decoders take it for
// that in a header too.
const zstdUnknown = math.MaxUint64

// zstdHeader is the header of a frame.
type zstdHeader struct {
	length  int // of the header
	window  uint64
	content uint64 // what the frame becomes, or zstdUnknown
	checked bool   // a checksum follows the frame
	// rewritten frames go to the decoder without size and checksum. A frame that
	// is its own window cannot go without its size; there is nothing to leave
	// out of it either.
	rewritten bool
	windowBy  byte // how the header says window
}

// parseZstdHeader reads the header that data begins with. It does not understand
// those of frames that are refused: cut, from a later version, with a dictionary
// or too big a window.
func parseZstdHeader(data []byte) (h zstdHeader, ok bool) {
	if len(data) < 6 || binary.LittleEndian.Uint32(data) != zstdMagic {
		return h, false
	}
	flags := data[4]
	h.length, h.checked, h.rewritten = 5, flags&zstdChecked != 0, flags&zstdSingle == 0
	if h.rewritten {
		h.windowBy = data[5]
		base := uint64(1) << (10 + h.windowBy>>3)
		h.window = base + base/8*uint64(h.windowBy&7)
		h.length++
	}
	idLen := []int{0, 1, 2, 4}[flags&3]
	sizeLen := []int{0, 2, 4, 8}[flags>>6]
	if sizeLen == 0 && !h.rewritten {
		sizeLen = 1
	}
	fields := data[h.length:]
	if len(fields) < idLen+sizeLen || flags&zstdReserved != 0 || zstdInt(fields[:idLen]) != 0 {
		return h, false
	}
	h.length += idLen + sizeLen
	h.content = zstdUnknown
	if sizeLen > 0 {
		h.content = zstdInt(fields[idLen : idLen+sizeLen])
	}
	if sizeLen == 2 {
		h.content += 256
	}
	return h, h.window <= maxWindow
}

// bare is a header of the same frame that says nothing but the window.
func (h *zstdHeader) bare() []byte {
	return append(binary.LittleEndian.AppendUint32(nil, zstdMagic), 0, h.windowBy)
}

func zstdInt(field []byte) (n uint64) {
	for i, b := range field {
		n |= uint64(b) << (8 * i)
	}
	return n
}

// zstdSkippable returns the length of the skippable frame that data begins with.
func zstdSkippable(data []byte) (length int64, ok bool) {
	if len(data) < zstdSkipHeaderLen || binary.LittleEndian.Uint32(data)&^0xf != zstdSkipMagic {
		return 0, false
	}
	return zstdSkipHeaderLen + int64(binary.LittleEndian.Uint32(data[4:])), true
}
