package inflate

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt is returned for input that is no DEFLATE stream.
var ErrCorrupt = errors.New("deflate data is damaged")

const (
	window = 32 << 10
	chunk  = 256 << 10
	// slack is room behind the end of a chunk for the longest match, which is
	// copied in words.
	slack = 258 + 16
)

// state is what comes next in a stream.
type state int

const (
	atHeader state = iota // of a block
	inStored
	inCodes
	atEnd
)

// Reader decodes streams. It is not safe for concurrent use.
type Reader struct {
	in  *bufio.Reader
	src []byte // what in has buffered
	pos int    // of src, up to which bits holds it
	// bits are the next bits of input, the lowest first: n of them count, and those
	// above are either zero or what follows in src.
	bits uint64
	n    uint

	out   [window + chunk + slack]byte
	end   int // of what is decoded in out
	state state
	last  bool // no block follows
	left  int  // of a stored block

	literals, distances table
}

// NewReader returns a Reader of the stream that begins where in stands. in must
// have a buffer of at least 16 bytes.
func NewReader(in *bufio.Reader) *Reader { return &Reader{in: in} }

// Reset begins with another stream, where in stands.
func (r *Reader) Reset() {
	r.src, r.pos, r.bits, r.n = nil, 0, 0, 0
	r.end, r.state, r.last = 0, atHeader, false
}

// Next returns the next bytes of the stream. They are valid until the next call.
// With [io.EOF], and not before, in stands behind the stream. An input that ends in
// the stream is [io.ErrUnexpectedEOF]. Other errors of in are returned as they are,
// and everything else is ErrCorrupt.
func (r *Reader) Next() ([]byte, error) {
	if r.end > window {
		copy(r.out[:window], r.out[r.end-window:r.end])
		r.end = window
	}
	start := r.end
	for r.end < window+chunk && r.state != atEnd {
		if err := r.step(); err != nil {
			return nil, err
		}
	}
	if r.end > start {
		return r.out[start:r.end], nil
	}
	return nil, io.EOF
}

// step does a part of a block.
func (r *Reader) step() error {
	switch r.state {
	case atHeader:
		return r.header()
	case inStored:
		return r.stored()
	default:
		return r.codes()
	}
}

// header reads that of a block, section 3.2.3.
func (r *Reader) header() error {
	final, err := r.take(1)
	if err != nil {
		return err
	}
	r.last = final == 1
	kind, err := r.take(2)
	if err != nil {
		return err
	}
	switch kind {
	case 0:
		return r.beginStored()
	case 1:
		return r.fixed()
	case 2:
		return r.dynamic()
	}
	return fmt.Errorf("%w: a block of no known type", ErrCorrupt)
}

// endBlock goes on to the next block, or gives back what lies behind the stream.
func (r *Reader) endBlock() error {
	r.state = atHeader
	if !r.last {
		return nil
	}
	r.state = atEnd
	return r.release()
}

// release gives the whole bytes in bits, and what else is not used, back to in. The
// bits of a byte that is begun stay.
func (r *Reader) release() error {
	whole := r.n / 8
	r.pos -= int(whole)
	r.n -= 8 * whole
	r.bits &= 1<<r.n - 1
	_, err := r.in.Discard(r.pos)
	r.src, r.pos = nil, 0
	return err
}

// fill gets more input: at least 16 bytes, unless it ends before.
func (r *Reader) fill() error {
	if err := r.release(); err != nil {
		return err
	}
	const least = 16
	if _, err := r.in.Peek(least); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var err error
	r.src, err = r.in.Peek(r.in.Buffered())
	return err
}

// need has at least count bits ready, at most 48, or as many as there are left.
func (r *Reader) need(count uint) error {
	if r.n >= count {
		return nil
	}
	if len(r.src)-r.pos < 8 {
		if err := r.fill(); err != nil {
			return err
		}
	}
	if len(r.src)-r.pos >= 8 {
		r.bits |= binary.LittleEndian.Uint64(r.src[r.pos:]) << r.n
		r.pos += int(63-r.n) / 8
		r.n |= 56
		return nil
	}
	for r.n <= 48 && r.pos < len(r.src) {
		r.bits |= uint64(r.src[r.pos]) << r.n
		r.pos++
		r.n += 8
	}
	return nil
}

// take reads a number of at most 16 bits.
func (r *Reader) take(count uint) (uint, error) {
	if err := r.need(count); err != nil {
		return 0, err
	}
	if r.n < count {
		return 0, io.ErrUnexpectedEOF
	}
	v := uint(r.bits) & (1<<count - 1)
	r.drop(count)
	return v, nil
}

func (r *Reader) drop(count uint) {
	r.bits >>= count
	r.n -= count
}

// beginStored reads the length of a stored block, section 3.2.4.
func (r *Reader) beginStored() error {
	r.drop(r.n % 8)
	length, err := r.take(16)
	if err != nil {
		return err
	}
	inverse, err := r.take(16)
	if err != nil {
		return err
	}
	if length != ^inverse&0xffff {
		return fmt.Errorf("%w: length of a stored block", ErrCorrupt)
	}
	r.left, r.state = int(length), inStored
	return r.release()
}

// stored copies from in as much as there is room for.
func (r *Reader) stored() error {
	n := min(r.left, window+chunk-r.end)
	m, err := io.ReadFull(r.in, r.out[r.end:r.end+n])
	r.end += m
	r.left -= m
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err == nil && r.left == 0 {
		return r.endBlock()
	}
	return err
}
