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
	filled *packed // in the making, if it is not nil
	free   chan *packed
	queue  chan *packed // in order
	begun  bool
	closed bool
	ended  sync.WaitGroup
	err    error // why writing failed; to be read when ended
}

// packPiece writes a compressed stream of a piece to w.
type packPiece func(ctx context.Context, w io.Writer, piece []byte) error

// packed is a piece and what it becomes.
type packed struct {
	piece []byte
	out   bytes.Buffer
	done  chan error // has one value for each use
}

var _ io.WriteCloser = (*splitWriter)(nil)

func newSplitWriter(ctx context.Context, w io.Writer, size int, pack packPiece) *splitWriter {
	ctx, stop := context.WithCancelCause(ctx)
	// One is filled while the others are compressed.
	const pieces = splitCores + 1
	s := &splitWriter{
		w: w, size: size, stop: stop,
		pack:  func(w io.Writer, piece []byte) error { return pack(ctx, w, piece) },
		cause: func() error { return context.Cause(ctx) },
		free:  make(chan *packed, pieces),
		queue: make(chan *packed, splitCores-1), // and one that is waited for
	}
	for range pieces {
		s.free <- &packed{done: make(chan error, 1)}
	}
	s.ended.Go(s.writeOut)
	return s
}

// writeOut writes pieces in order. After a failure it only waits for the others.
func (s *splitWriter) writeOut() {
	for p := range s.queue {
		err := <-p.done
		if err == nil && s.err == nil {
			if _, err = s.w.Write(p.out.Bytes()); err != nil {
				err = fmt.Errorf("write compressed data: %w", err)
			}
		}
		if err != nil && s.err == nil {
			s.err = err
			s.stop(err)
		}
		s.free <- p
	}
}

func (s *splitWriter) Write(p []byte) (total int, err error) {
	if s.closed {
		return 0, errors.Join(s.err, ErrClosed)
	}
	for len(p) > 0 {
		s.begin()
		piece := s.filled.piece
		n := copy(piece[len(piece):s.size], p)
		s.filled.piece, p, total = piece[:len(piece)+n], p[n:], total+n
		if len(piece)+n == s.size {
			if err := s.flush(); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// begin has a piece to fill.
func (s *splitWriter) begin() {
	if s.filled != nil {
		return
	}
	s.filled = <-s.free
	s.filled.piece = slices.Grow(s.filled.piece[:0], s.size)
	s.filled.out.Reset()
	// What does not compress gets a little longer; a buffer that had to grow for that
	// would leave as much again behind, time after time.
	s.filled.out.Grow(s.size + s.size/50 + 4096)
}

// flush starts to compress the piece that is filled.
func (s *splitWriter) flush() error {
	if err := s.cause(); err != nil {
		return err
	}
	p := s.filled
	s.filled, s.begun = nil, true
	s.queue <- p
	go func() { p.done <- s.pack(&p.out, p.piece) }()
	return nil
}

// Close returns when everything is written. Of no input it makes an empty stream.
func (s *splitWriter) Close() error {
	if s.closed {
		return s.err
	}
	s.closed = true
	var err error
	if s.filled != nil || !s.begun {
		s.begin()
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
