package compress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// splitCores is how many pieces are compressed side by side, whatever the machine
// has.
const splitCores = 2

// splitWriter compresses pieces of its input side by side, for formats in which one
// stream may follow another.
type splitWriter struct {
	w     io.Writer
	pack  func(w io.Writer, piece []byte) error
	stop  context.CancelCauseFunc
	cause func() error // why there is no use in going on, or nil

	size   int
	piece  []byte
	free   chan []byte // pieces that were compressed
	queue  chan *packed
	begun  bool
	closed bool
	ended  sync.WaitGroup
	err    error // why writing failed; to be read when ended
}

// packPiece writes a compressed stream of a piece to w.
type packPiece func(ctx context.Context, w io.Writer, piece []byte) error

// packed is a compressed piece.
type packed struct {
	out  bytes.Buffer
	err  error
	done chan struct{} // closed when the others are set
}

var _ io.WriteCloser = (*splitWriter)(nil)

func newSplitWriter(ctx context.Context, w io.Writer, size int, pack packPiece) *splitWriter {
	ctx, stop := context.WithCancelCause(ctx)
	s := &splitWriter{
		w: w, size: size, stop: stop,
		pack:  func(w io.Writer, piece []byte) error { return pack(ctx, w, piece) },
		cause: func() error { return context.Cause(ctx) },
		free:  make(chan []byte, splitCores+1),
		queue: make(chan *packed, splitCores-1), // and one that is waited for
	}
	for range cap(s.free) {
		s.free <- nil // made when it is needed
	}
	s.ended.Go(s.writeOut)
	return s
}

// writeOut writes pieces in order. After a failure it only waits for the others.
func (s *splitWriter) writeOut() {
	for p := range s.queue {
		<-p.done
		err := p.err
		if err == nil && s.err == nil {
			if _, err = s.w.Write(p.out.Bytes()); err != nil {
				err = fmt.Errorf("write compressed data: %w", err)
			}
		}
		if err != nil && s.err == nil {
			s.err = err
			s.stop(err)
		}
	}
}

func (s *splitWriter) Write(p []byte) (total int, err error) {
	if s.closed {
		return 0, errors.Join(s.err, ErrClosed)
	}
	for len(p) > 0 {
		if s.piece == nil {
			s.piece = slices.Grow((<-s.free)[:0], s.size)
		}
		n := copy(s.piece[len(s.piece):s.size], p)
		s.piece, p, total = s.piece[:len(s.piece)+n], p[n:], total+n
		if len(s.piece) == s.size {
			if err := s.flush(); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// flush starts to compress the piece.
func (s *splitWriter) flush() error {
	if err := s.cause(); err != nil {
		return err
	}
	piece, p := s.piece, &packed{done: make(chan struct{})}
	s.piece, s.begun = nil, true
	s.queue <- p
	go func() {
		defer close(p.done)
		p.err = s.pack(&p.out, piece)
		s.free <- piece // never blocks: it came from there
	}()
	return nil
}

// Close returns when everything is written. Of no input it makes an empty stream.
func (s *splitWriter) Close() error {
	if s.closed {
		return s.err
	}
	s.closed = true
	var err error
	switch {
	case len(s.piece) > 0:
		err = s.flush()
	case !s.begun:
		s.piece = <-s.free
		err = s.flush()
	}
	close(s.queue)
	s.ended.Wait()
	if s.err == nil {
		s.err = err
	}
	s.stop(nil)
	return s.err
}
