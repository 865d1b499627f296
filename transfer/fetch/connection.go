package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// connection is one response with its watch.
type connection struct {
	resp   *http.Response
	ctx    context.Context // of this response alone: a stall ends it and not the download
	cancel context.CancelCauseFunc
	watch  watch
}

// connect sends a request and returns when the headers of the response are there. A body that comes at less than floor,
// in bytes per second, has stalled.
func (c *Client) connect(r *http.Request, floor float64) (*connection, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	conn := &connection{ctx: ctx, cancel: cancel}
	conn.watch = watch{timeout: c.options.StallTimeout, floor: max(floor, minRate), timer: time.AfterFunc(c.options.StallTimeout, func() { cancel(ErrStalled) })}
	var err error
	conn.resp, err = c.http.Do(r.WithContext(ctx)) //nolint:bodyclose // closed with the connection, by close
	conn.watch.end(0)
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrStalled) {
			err = ErrStalled
		}
		cancel(nil)
		return nil, describe(err)
	}
	return conn, nil
}

// Read reads the body; an error is io.EOF or a [lostError].
func (c *connection) Read(p []byte) (int, error) {
	c.watch.begin()
	n, err := c.resp.Body.Read(p)
	if c.watch.end(n) {
		c.cancel(ErrStalled)
	}
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case errors.Is(context.Cause(c.ctx), ErrStalled):
		err = ErrStalled
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return n, &lostError{describe(err)}
}

// close lets go of the response. An error of it has nothing to say about the bytes that came.
func (c *connection) close() {
	c.cancel(nil)
	_ = c.resp.Body.Close()
}

// watch finds out that nearly nothing comes. It counts only the time within begin and end, so that a slow reader is not
// taken for a slow server.
type watch struct {
	timeout time.Duration
	floor   float64
	timer   *time.Timer
	started time.Time
	waited  time.Duration
	got     int64
}

func (w *watch) begin() {
	w.started = time.Now()
	w.timer.Reset(w.timeout - w.waited)
}

// end returns true when the time has passed and too little has come.
func (w *watch) end(n int) bool {
	w.timer.Stop()
	if w.started.IsZero() {
		return false // the headers: the timer alone counts
	}
	w.waited += time.Since(w.started)
	w.got += int64(n)
	if float64(w.got) >= w.floor*w.timeout.Seconds() {
		w.waited, w.got = 0, 0
	}
	return w.waited >= w.timeout
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
