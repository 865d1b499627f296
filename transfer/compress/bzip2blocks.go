package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// What a decoder may be ahead of the reader. An ordinary block, of 900 kB, fits in
// wholly; a block of zeros has 46 MB.
const (
	bzip2Chunk  = 64 << 10
	bzip2Chunks = 16
)

// bzip2Block is a piece and, if it is a block, its content.
type bzip2Block struct {
	piece
	level byte
	out   chan []byte
	full  chan struct{} // closed when more is decoded than out holds
	drop  chan struct{} // closed when nobody wants the rest
	done  chan struct{} // closed, as out, when err is set
	err   error         // nil at the end of a whole block
}

func newBzip2Block(p piece, level byte) *bzip2Block {
	return &bzip2Block{
		piece: p, level: level, out: make(chan []byte, bzip2Chunks),
		full: make(chan struct{}), drop: make(chan struct{}), done: make(chan struct{}),
	}
}

// stream makes a file of the block alone. A block that the input ends in has no
// end here either.
func (b *bzip2Block) stream() *bytes.Reader {
	var s bitBuffer
	s.data = make([]byte, 0, len(b.data)+bzip2HeaderLen+bzip2EndBits/8+1)
	s.add([]byte{'B', 'Z', 'h', b.level}, 0, 8*bzip2HeaderLen)
	if b.ending == atEnd {
		s.add(b.data, 0, b.bits/8*8)
		return bytes.NewReader(s.data)
	}
	s.add(b.data, 0, b.bits)
	s.addUint(bzip2FinalMark, bzip2MarkBits)
	s.addUint(uint64(b.sum()), 32) // of one block it is the same
	return bytes.NewReader(s.data)
}

// end is called once, with why the block could not be decoded, or nil.
func (b *bzip2Block) end(err error) {
	if err == nil && b.ending == atEnd {
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	close(b.out)
	close(b.done)
}

// send reports whether anybody wants the chunk.
func (b *bzip2Block) send(chunk []byte) bool {
	select {
	case b.out <- chunk:
		return true
	default:
	}
	select {
	case <-b.full:
	default:
		close(b.full)
	}
	select {
	case b.out <- chunk:
		return true
	case <-b.drop:
		return false
	}
}

// failed waits until it is known whether the block can be decoded, or more of it
// is than can be held back.
func (b *bzip2Block) failed() bool {
	select {
	case <-b.done:
		return b.err != nil
	case <-b.full:
		return false
	}
}

// damage is why the block cannot be decoded. Where the input does not end, a lack
// of data is damage.
func (b *bzip2Block) damage() error {
	if errors.Is(b.err, io.ErrUnexpectedEOF) && b.ending != atEnd {
		return fmt.Errorf("%w: a block without an end", ErrCorrupt)
	}
	return b.err
}
