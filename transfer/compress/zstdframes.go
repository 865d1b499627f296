package compress

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cespare/xxhash/v2"
)

// The blocks of a frame, RFC 8878 section 3.1.1.2.
const (
	zstdBlockHeaderLen = 3
	zstdMaxBlock       = 128 << 10
	zstdRawBlock       = 0
	zstdRLEBlock       = 1
	zstdCompressed     = 2
)

// zstdLongest is how many zeros are left out before the decoder gets some again,
// so that whoever reads hears of them.
const zstdLongest = 1 << 30

// zstdFrames is what a decoder reads instead of the input: the same frames, but
// without most of their zeros. An encoder writes 128 KiB of zeros as a block of
// four bytes, and a disk image has thousands of these in a row; a decoder makes
// all of them, byte by byte. Once a whole window of zeros went through it, more
// of them do not change what it remembers, and neither entropy tables nor
// offsets are touched by such blocks: the rest of the row can go another way.
//
// Since the decoder does not see all of a frame, size and checksum of the
// content are taken from the frame and compared here.
//
// What is not understood goes to the decoder as it is, for it to find the error: it
// is a frame that the decoder refuses, or within one an end or a type of block that
// it refuses.
type zstdFrames struct {
	in *bufio.Reader

	made  []byte // goes to the decoder first
	blank int    // zeros that go next
	pass  int64  // bytes of in that go after these
	step  func() error
	err   error // of step; the decoder may replace it

	frame zstdHeader
	hash  *xxhash.Digest
	size  uint64 // of what the frame became so far
	zeros uint64 // at the end of that, as blocks of their own
	known int    // zeros that the decoder gives next
	out   int64  // zeros left out that nobody took yet
}

func newZstdFrames(in *bufio.Reader) *zstdFrames {
	f := &zstdFrames{in: in, hash: xxhash.New()}
	f.step = f.begin
	return f
}

func (f *zstdFrames) Read(p []byte) (n int, err error) {
	for {
		switch {
		case f.err != nil:
			return 0, f.err
		case len(f.made) > 0:
			n = copy(p, f.made)
			f.made = f.made[n:]
			return n, nil
		case f.blank > 0:
			n = min(len(p), f.blank)
			clear(p[:n])
			f.blank -= n
			return n, nil
		case f.pass > 0:
			n, err = f.in.Read(p[:min(int64(len(p)), f.pass)])
			f.pass -= int64(n)
			return n, err
		}
		f.err = f.step()
	}
}

// left returns how many zeros were left out since it was called last.
func (f *zstdFrames) left() int64 {
	n := f.out
	f.out = 0
	return n
}

// decoded takes note of what the decoder gave. It tells that these are zeros if
// that is known without a look.
func (f *zstdFrames) decoded(p []byte) (zeros bool, err error) {
	zeros = f.known > 0
	f.known -= min(f.known, len(p))
	return zeros, f.count(p)
}

func (f *zstdFrames) count(p []byte) error {
	if !f.frame.rewritten {
		return nil
	}
	f.size += uint64(len(p))
	if f.frame.checked {
		_, _ = f.hash.Write(p) // a hash never fails
	}
	if f.size > f.frame.content {
		return errZstdSize
	}
	return nil
}

var errZstdSize = fmt.Errorf("%w: a frame has another size than its header says", ErrCorrupt)

// opaque gives all that is left of the input to the decoder.
func (f *zstdFrames) opaque() error {
	f.pass = math.MaxInt64
	f.frame = zstdHeader{}
	return nil
}

// begin reads what a frame begins with.
func (f *zstdFrames) begin() error {
	head, err := f.in.Peek(zstdMaxHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if size, ok := zstdSkippable(head); ok {
		f.pass = size
		return nil
	}
	var ok bool
	if f.frame, ok = parseZstdHeader(head); !ok {
		return f.opaque()
	}
	f.hash.Reset()
	f.size, f.zeros = 0, 0
	f.step = f.block
	if !f.frame.rewritten {
		f.pass = int64(f.frame.length)
		return nil
	}
	_, _ = f.in.Discard(f.frame.length) // it was peeked at
	f.made = f.frame.bare()
	return nil
}

// block reads the header of a block.
func (f *zstdFrames) block() error {
	head, err := f.in.Peek(zstdBlockHeaderLen + 1) // the last may be shorter
	if len(head) < zstdBlockHeaderLen {
		return f.unless(err)
	}
	bits := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16
	last, kind, size := bits&1 != 0, bits>>1&3, int(bits>>3)
	if last {
		f.step = f.end
	}
	switch {
	case kind == zstdRLEBlock && len(head) > zstdBlockHeaderLen && head[3] == 0 && f.ours(size):
		_, _ = f.in.Discard(len(head)) // it was peeked at
		return f.blanks(size, last)
	case kind == zstdRLEBlock:
		f.pass = zstdBlockHeaderLen + 1
	case kind == zstdRawBlock, kind == zstdCompressed:
		f.pass = zstdBlockHeaderLen + int64(size)
	default:
		return f.opaque()
	}
	f.zeros = 0
	return nil
}

// unless is opaque but for errors of the input.
func (f *zstdFrames) unless(err error) error {
	if errors.Is(err, io.EOF) {
		return f.opaque()
	}
	return err
}

// ours says whether blocks of zeros may be changed, and this one is not too big.
func (f *zstdFrames) ours(size int) bool {
	return f.frame.rewritten && uint64(size) <= min(zstdMaxBlock, f.frame.window)
}

// blanks leaves a block of zeros out, or gives it to the decoder as bytes, which
// takes those faster than it makes them.
func (f *zstdFrames) blanks(size int, last bool) error {
	full := f.zeros >= f.frame.window
	f.zeros += uint64(size)
	if full && !last && f.out < zstdLongest {
		if err := f.count(zstdZeros[:size]); err != nil {
			return err
		}
		f.out += int64(size)
		return nil
	}
	header := uint32(size)<<3 | zstdRawBlock<<1
	if last {
		header |= 1
	}
	f.made = []byte{byte(header), byte(header >> 8), byte(header >> 16)}
	f.blank, f.known = size, size
	return nil
}

var zstdZeros [zstdMaxBlock]byte

// end compares what a frame became with what it says.
func (f *zstdFrames) end() error {
	f.step = f.begin
	if !f.frame.rewritten {
		if f.frame.checked {
			f.pass = 4
		}
		return nil
	}
	if f.frame.content != zstdUnknown && f.size != f.frame.content {
		return errZstdSize
	}
	if !f.frame.checked {
		return nil
	}
	var sum [4]byte
	if _, err := io.ReadFull(f.in, sum[:]); err != nil {
		return unexpected(err)
	}
	if binary.LittleEndian.Uint32(sum[:]) != uint32(f.hash.Sum64()) {
		return fmt.Errorf("%w: checksum of a frame", ErrCorrupt)
	}
	return nil
}
