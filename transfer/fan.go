package transfer

import (
	"context"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	// fanChunk is how much one read from the source asks for.
	fanChunk = 256 << 10
	// fanChunks is how many chunks are under way between source and sinks.
	fanChunks = 8
)

// chunk is one buffer on its way through all sinks; the last to finish with it
// gives it back.
type chunk struct {
	data []byte
	left atomic.Int32
}

// Fan opens a source, reads it to its end and writes every byte to each sink.
// Source and sinks run on goroutines of their own; the slowest sets the pace.
// When one fails, the context that open was given ends, so that a source which
// waits for its peer wakes up; the first cause is returned as an *[Error].
func Fan(ctx context.Context, open func(context.Context) (io.ReadCloser, error), sinks ...io.Writer) (err error) {
	group, ctx := errgroup.WithContext(ctx)
	src, err := open(ctx)
	if err != nil {
		_ = group.Wait() // nothing runs in it yet; this ends its context
		return &Error{Source, err}
	}
	defer func() {
		if closeErr := src.Close(); closeErr != nil && err == nil {
			err = &Error{Source, closeErr}
		}
	}()
	free := make(chan *chunk, fanChunks)
	for range fanChunks {
		free <- &chunk{data: make([]byte, fanChunk)}
	}
	lanes := make([]chan *chunk, len(sinks))
	for i, sink := range sinks {
		lanes[i] = make(chan *chunk, fanChunks)
		group.Go(func() error { return drain(ctx, lanes[i], free, sink) })
	}
	group.Go(func() error { return feed(ctx, src, free, lanes) })
	return group.Wait()
}

// feed reads chunks and sends each to all lanes; it closes them at the end of
// the source only, so that a sink cannot mistake a failure for the end.
func feed(ctx context.Context, src io.Reader, free chan *chunk, lanes []chan *chunk) error {
	for {
		var c *chunk
		select {
		case c = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c.data = c.data[:cap(c.data)]
		n, err := io.ReadAtLeast(src, c.data, 1)
		if err != nil && err != io.EOF {
			return &Error{Source, err}
		}
		if n > 0 {
			c.data = c.data[:n]
			c.left.Store(int32(len(lanes)))
			for _, lane := range lanes {
				lane <- c // never blocks: there are no more chunks than a lane holds
			}
		}
		if err == io.EOF {
			for _, lane := range lanes {
				close(lane)
			}
			return nil
		}
	}
}

func drain(ctx context.Context, lane <-chan *chunk, free chan<- *chunk, sink io.Writer) error {
	for {
		select {
		case c, ok := <-lane:
			if !ok {
				return nil
			}
			if _, err := sink.Write(c.data); err != nil {
				return &Error{Sink, err}
			}
			if c.left.Add(-1) == 0 {
				free <- c
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
