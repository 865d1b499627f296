package transfer

import (
	"errors"
	"io"
	"sync"
)

const (
	aheadChunk  = 512 << 10
	aheadChunks = 4
)

// filled is what the filling goroutine hands over: bytes, or the end.
type filled struct {
	data []byte
	err  error
}

// Ahead reads from its source on a goroutine of its own, so that decoding goes
// on while the reader writes what it got.
type Ahead struct {
	src     io.Reader
	full    chan filled
	free    chan []byte
	stop    chan struct{}
	ended   sync.WaitGroup
	current filled
	rest    []byte
	closed  sync.Once
}

// NewAhead starts to read from src. Close must be called, and src must not be
// used before it returns.
func NewAhead(src io.Reader) *Ahead {
	a := &Ahead{
		src:  src,
		full: make(chan filled, aheadChunks),
		free: make(chan []byte, aheadChunks),
		stop: make(chan struct{}),
	}
	for range aheadChunks {
		a.free <- make([]byte, aheadChunk)
	}
	a.ended.Go(a.fill)
	return a
}

func (a *Ahead) fill() {
	defer close(a.full)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		n, err := readFull(a.src, buf[:cap(buf)])
		a.full <- filled{buf[:n], err} // never blocks: as many slots as buffers
		if err != nil {
			return
		}
	}
}

// readFull fills buf and returns the error of r as it is: io.ReadFull would hide
// whether a stream ended or was cut.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// Read returns what was read ahead, and the error of the source after the last
// byte.
func (a *Ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if err := a.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// WriteTo hands the buffers to w without another copy.
func (a *Ahead) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if len(a.rest) > 0 {
			n, err := w.Write(a.rest)
			total += int64(n)
			a.rest = a.rest[n:]
			if err != nil {
				return total, err
			}
		}
		if err := a.next(); errors.Is(err, io.EOF) {
			return total, nil
		} else if err != nil {
			return total, err
		}
	}
}

func (a *Ahead) next() error {
	if a.current.err != nil {
		return a.current.err
	}
	if a.current.data != nil {
		a.free <- a.current.data
	}
	next, ok := <-a.full
	if !ok {
		return io.ErrClosedPipe
	}
	a.current, a.rest = next, next.data
	if len(a.rest) == 0 {
		return next.err
	}
	return nil
}

// Close stops reading ahead and waits until the source is no longer in use. A
// source that blocks for ever must be ended by its owner first.
func (a *Ahead) Close() error {
	a.closed.Do(func() { close(a.stop) })
	a.ended.Wait()
	return nil
}
