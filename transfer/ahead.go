package transfer

import (
	"io"
	"sync"

	"berth/transfer/disk"
)

const (
	aheadChunk  = 512 << 10
	aheadChunks = 4
	// aheadZeros is how many zeros are told at least, if more come.
	aheadZeros = 64 << 20
)

// filled is what the filling goroutine hands over: zeros, bytes after these, and
// the end after both.
type filled struct {
	zeros int64
	data  []byte
	err   error
}

// Ahead reads from its source on a goroutine of its own, so that decoding goes
// on while the reader writes what it got.
type Ahead struct {
	src     disk.SparseReader
	full    chan filled
	free    chan []byte
	stop    chan struct{}
	ended   sync.WaitGroup
	current filled // but for what was read of it
	buffer  []byte // that current.data stands in
	closed  sync.Once
}

// NewAhead starts to read from src. Close must be called, and src must not be
// used before it returns.
func NewAhead(src io.Reader) *Ahead {
	a := &Ahead{
		src:  disk.Sparse(src),
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
	var zeros int64 // that came after the data of the last one
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		next := filled{zeros: zeros, data: buf[:0]}
		zeros = a.readInto(&next)
		a.full <- next // never blocks: as many slots as buffers
		if next.err != nil {
			return
		}
	}
}

// readInto reads zeros and then data until there are enough of one of them, and
// returns the zeros that came after the data. It keeps the error as it is:
// io.ReadFull would hide whether a stream ended or was cut.
func (a *Ahead) readInto(f *filled) (zeros int64) {
	for f.err == nil && len(f.data) < cap(f.data) && f.zeros < aheadZeros {
		var n int
		n, zeros, f.err = a.src.ReadSparse(f.data[len(f.data):cap(f.data)])
		f.data = f.data[:len(f.data)+n]
		if zeros > 0 && len(f.data) > 0 {
			return zeros
		}
		f.zeros += zeros
	}
	return 0
}

// Read returns what was read ahead, and the error of the source after the last
// byte.
func (a *Ahead) Read(p []byte) (n int, err error) {
	if err := a.await(); err != nil {
		return 0, err
	}
	if a.current.zeros > 0 {
		n = int(min(int64(len(p)), a.current.zeros))
		clear(p[:n])
		a.current.zeros -= int64(n)
		return n, nil
	}
	n = copy(p, a.current.data)
	a.current.data = a.current.data[n:]
	return n, nil
}

// ReadSparse is Read but for long runs of zeros, whose length it returns instead
// where the source does.
func (a *Ahead) ReadSparse(p []byte) (n int, zeros int64, err error) {
	if err := a.await(); err != nil {
		return 0, 0, err
	}
	if zeros = a.current.zeros; zeros > 0 {
		a.current.zeros = 0
		return 0, zeros, nil
	}
	n, err = a.Read(p)
	return n, 0, err
}

// await waits until there is something to read.
func (a *Ahead) await() error {
	for a.current.zeros == 0 && len(a.current.data) == 0 {
		if a.current.err != nil {
			return a.current.err
		}
		if a.buffer != nil {
			a.free <- a.buffer
			a.buffer = nil
		}
		next, ok := <-a.full
		if !ok {
			return io.ErrClosedPipe
		}
		a.current, a.buffer = next, next.data
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
