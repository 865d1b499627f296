package compress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	// xzSide is how many programs decode side by side, whatever the machine has:
	// each takes 10 MiB.
	xzSide = 2
	xzUnit = 256 << 10
	// xzFed is how many units of input are read ahead. When all of a block is read,
	// the next one begins, so this is how much earlier that is.
	xzFed = 16
	// xzHeld is how many units of output are held back. Two blocks of 24 MiB, those
	// of `xz -T0`, run side by side all the time if half of one can be held.
	xzHeld = 40
)

// xzPieces decodes blocks side by side. Blocks whose headers say how long they are
// can be found without decoding them. Some of them together, with a header and an
// index of their own, make a piece: a file for a program, which verifies its
// checksums. What cannot be cut in this way is decoded in one.
//
// A program gets its input in units, so it may lack up to one of what was read.
type xzPieces struct {
	order   chan *xzPiece // as in the file; closed after the last
	slots   chan struct{}
	fed     chan []byte // that can be filled with input
	free    chan []byte // that can be filled with output
	quit    chan struct{}
	running sync.WaitGroup
	ctx     context.Context //nolint:containedctx // that of the programs

	rest io.ReadCloser // comes after the pieces, or nil; set before order is closed
	err  error         // comes after that; set before order is closed

	front *xzPiece
	unit  []byte
	left  []byte // of unit
}

// startXZ starts a program on an .xz file.
type startXZ func(in io.Reader) (*childReader, error)

func newXZPieces(ctx context.Context, in *bufio.Reader, start startXZ) *xzPieces {
	r := &xzPieces{
		ctx:   ctx,
		order: make(chan *xzPiece, xzSide),
		slots: make(chan struct{}, xzSide),
		fed:   units(xzFed),
		free:  units(xzHeld),
		quit:  make(chan struct{}),
	}
	c := &xzCutter{to: r, start: start, streams: newXZStreams(in)}
	r.running.Go(func() {
		defer close(r.order)
		r.rest, r.err = c.run()
	})
	return r
}

// units returns n buffers, each of which is made when it is needed first.
func units(n int) chan []byte {
	c := make(chan []byte, n)
	for range n {
		c <- nil
	}
	return c
}

func (r *xzPieces) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.front == nil {
			more, err := r.advance()
			if err != nil {
				return 0, err
			}
			if !more {
				return r.readRest(p)
			}
		}
		if r.hold(<-r.front.held) {
			continue
		}
		n, err := r.front.read(p)
		if ended(err) {
			err = r.endPiece()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// advance makes the next piece the front, if there is one.
func (r *xzPieces) advance() (bool, error) {
	select {
	case piece, more := <-r.order:
		if more {
			r.front = piece
			close(piece.front)
		}
		return more, nil
	case <-r.ctx.Done():
		return false, fmt.Errorf("wait for the next blocks: %w: %w", errChild, context.Cause(r.ctx))
	}
}

func (r *xzPieces) readRest(p []byte) (int, error) {
	if r.rest == nil {
		return 0, r.err
	}
	return r.rest.Read(p)
}

// hold takes the next unit to read from, if there is one, in exchange for the last.
func (r *xzPieces) hold(unit []byte) bool {
	if r.unit != nil {
		r.free <- r.unit // never blocks: it is from there
	}
	r.unit, r.left = unit, unit
	return unit != nil
}

func (r *xzPieces) endPiece() error {
	err := r.front.close()
	for range r.front.slots {
		<-r.slots
	}
	r.front = nil
	return err
}

// Close waits for a read from the source that is under way.
func (r *xzPieces) Close() (err error) {
	close(r.quit)
	if r.front != nil {
		err = r.front.close()
	}
	for piece := range r.order {
		_ = piece.close() // nobody wants it
	}
	r.running.Wait()
	if r.rest != nil {
		err = errors.Join(err, r.rest.Close())
	}
	return err
}

// xzPiece is what one program decodes.
type xzPiece struct {
	child *childReader
	input chan []byte   // for the child; closed after the last
	held  chan []byte   // of its output; closed when no more is held
	front chan struct{} // closed when the rest is read from the child
	slots int           // that it takes
	err   error         // of a read before held was closed
}

// fill holds back output of a piece until it is the front.
func (r *xzPieces) fill(p *xzPiece) {
	defer close(p.held)
	for p.err == nil {
		select { // the next one chooses at random
		case <-p.front:
			return
		default:
		}
		select {
		case <-p.front:
			return
		case <-r.quit:
			return
		case unit := <-r.free:
			unit = p.fillUnit(unit)
			if len(unit) == 0 {
				r.free <- unit
				continue
			}
			p.held <- unit // never blocks: it has room for all
		}
	}
}

func (p *xzPiece) fillUnit(unit []byte) []byte {
	if unit == nil {
		unit = make([]byte, xzUnit)
	}
	unit = unit[:cap(unit)]
	n := 0
	for n < len(unit) && p.err == nil {
		var got int
		got, p.err = p.child.Read(unit[n:])
		n += got
		select {
		case <-p.front:
			return unit[:n]
		default:
		}
	}
	return unit[:n]
}

// read must not be called before held is closed.
func (p *xzPiece) read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	return p.child.Read(b)
}

// close ends the child. Either quit or held must be closed, and the cutter gives no
// more or is about to end.
func (p *xzPiece) close() error {
	_ = p.child.cmd.Process.Kill() // it may have ended by itself
	for range p.held {             //nolint:revive // closed when nobody reads from the child any more
	}
	return p.child.Close()
}

// xzInput is what a program reads of a piece.
type xzInput struct {
	units <-chan []byte
	free  chan<- []byte
	unit  []byte
	left  []byte
}

func (i *xzInput) Read(p []byte) (int, error) {
	for len(i.left) == 0 {
		if i.unit != nil {
			i.free <- i.unit // never blocks: it is from there
		}
		i.unit = <-i.units
		i.left = i.unit
		if i.unit == nil {
			return 0, io.EOF // units is closed
		}
	}
	n := copy(p, i.left)
	i.left = i.left[n:]
	return n, nil
}
