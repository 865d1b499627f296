package compress

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"sync"
)

const (
	// bzip2Cores bounds the blocks that are decoded side by side, whatever the
	// machine has: each takes 5 MiB, and as much again until that is collected.
	bzip2Cores = 2
	// bzip2Joins is how many times one block may be taken for two. That happens by
	// chance once in 2^48 bits; who makes a file in which it happens all the time
	// must not make us decode each block over and over.
	bzip2Joins = 4
)

// bzip2Reader decodes blocks side by side. The blocks of a file can be found by
// the marks that they begin with; each is handed with a header of its own to the
// decoder of the standard library, which verifies its checksum.
type bzip2Reader struct {
	order   chan *bzip2Block // all, as in the file; closed after the last
	work    chan *bzip2Block // those to decode; closed after the last
	free    chan []byte
	quit    chan struct{}
	running sync.WaitGroup

	level   byte // of the stream under way
	sum     uint32
	current *bzip2Block
	chunk   []byte
	rest    []byte // of chunk
	err     error
}

func newBzip2Reader(in *bufio.Reader) (*bzip2Reader, error) {
	s := &splitter{in: in}
	level, err := s.begin()
	if err != nil {
		return nil, err
	}
	cores := min(runtime.GOMAXPROCS(0), bzip2Cores)
	r := &bzip2Reader{
		order: make(chan *bzip2Block, cores),
		work:  make(chan *bzip2Block),
		free:  make(chan []byte, bzip2Chunks),
		quit:  make(chan struct{}),
		level: level,
	}
	r.running.Go(func() { r.split(s, level) })
	for range cores {
		r.decode(r.work)
	}
	return r, nil
}

// split queues all pieces, and has those decoded that are blocks.
func (r *bzip2Reader) split(s *splitter, level byte) {
	defer close(r.order)
	defer close(r.work)
	for {
		b := newBzip2Block(s.next(), level)
		if !r.give(r.order, b) || !b.final() && !r.give(r.work, b) {
			return
		}
		if b.final() {
			// It may be none; then the reader notices that the level is wrong.
			if next, err := b.following(); err == nil {
				level = next
			}
		}
		if b.ending != atMark {
			return
		}
	}
}

// give reports whether the block found its place before the end.
func (r *bzip2Reader) give(queue chan<- *bzip2Block, b *bzip2Block) bool {
	select {
	case queue <- b:
		return true
	case <-r.quit:
		return false
	}
}

func (r *bzip2Reader) decode(blocks <-chan *bzip2Block) {
	r.running.Go((&bzip2Decoder{blocks: blocks, free: r.free}).run)
}

func (r *bzip2Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err == nil {
			r.err = r.advance()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// advance gets the next chunk, of the current block or of one after it.
func (r *bzip2Reader) advance() error {
	if r.current == nil {
		if err := r.nextBlock(); err != nil {
			return err
		}
	}
	r.recycle()
	chunk, more := <-r.current.out
	r.chunk, r.rest = chunk, chunk
	if more {
		return nil
	}
	<-r.current.done
	err := r.current.damage()
	r.sum = (r.sum<<1 | r.sum>>31) ^ r.current.sum()
	r.current = nil
	return err
}

// recycle gives the chunk that was read back to the decoders.
func (r *bzip2Reader) recycle() {
	if r.chunk == nil {
		return
	}
	select {
	case r.free <- r.chunk:
	default:
	}
	r.chunk = nil
}

// nextBlock makes the next block the current one, over the ends of streams.
func (r *bzip2Reader) nextBlock() error {
	for {
		b, err := r.next()
		if err != nil {
			return err
		}
		if !b.final() {
			r.current, err = r.whole(b)
			return err
		}
		if err := r.endStream(b); err != nil {
			return err
		}
	}
}

// next takes a piece off the queue.
func (r *bzip2Reader) next() (*bzip2Block, error) {
	b, more := <-r.order
	if !more {
		return nil, fmt.Errorf("%w: a block has no end", ErrCorrupt)
	}
	return b, nil
}

// endStream verifies the end of a stream and begins the next.
func (r *bzip2Reader) endStream(b *bzip2Block) error {
	if b.bits >= bzip2EndBits && b.sum() != r.sum {
		return fmt.Errorf("%w: checksum of a stream", ErrCorrupt)
	}
	level, err := b.following()
	r.level, r.sum = level, 0
	return err
}

// whole returns a block that can be decoded, as far as that can be told before
// more of it is decoded than can be held back: if need be one of several pieces.
func (r *bzip2Reader) whole(b *bzip2Block) (*bzip2Block, error) {
	if b.level != r.level {
		b = r.again(b, b.piece)
	}
	for joins := 0; b.failed(); joins++ {
		if b.ending != atMark || joins == bzip2Joins {
			return nil, b.damage()
		}
		more, err := r.next()
		if err != nil {
			return nil, err
		}
		close(more.drop)
		b = r.again(b, b.join(more.piece))
	}
	return b, nil
}

// again decodes something else in place of a block.
func (r *bzip2Reader) again(b *bzip2Block, p piece) *bzip2Block {
	close(b.drop)
	b = newBzip2Block(p, r.level)
	one := make(chan *bzip2Block, 1)
	one <- b
	close(one)
	r.decode(one)
	return b
}

// join returns a piece with the one after it.
func (p *piece) join(next piece) piece {
	both := piece{offset: p.offset, ending: next.ending}
	both.add(p.data, 0, p.bits)
	both.add(next.data, 0, next.bits)
	return both
}

// Close waits for a read from the source that is under way.
func (r *bzip2Reader) Close() error {
	close(r.quit)
	if r.current != nil {
		close(r.current.drop)
	}
	for b := range r.order {
		close(b.drop)
	}
	r.running.Wait()
	return nil
}

var _ io.ReadCloser = (*bzip2Reader)(nil)
