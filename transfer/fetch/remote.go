package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// remote is one file on a server, read over as many connections as it takes.
type remote struct {
	ctx     context.Context // of the download: reading reconnects, so it cannot come with each call
	client  *Client
	request Request
	url     *url.URL      // without credentials
	user    *url.Userinfo // sent to this host only, also after a redirect
	found   *url.URL      // where redirects led to; nil if that is not known, or no longer good

	entity entity
	// answered says that some response was good, known that entity holds.
	answered, known bool
	// speculative says that entity and offset come from a spool and no server has confirmed them.
	speculative bool
	// forgot says that a server has refuted them.
	forgot bool
	// unchanged says that the caller has the file already.
	unchanged bool
	// ranges says that the server can resume.
	ranges bool
	// plain says that its ranges are broken, so that what was received must be read again.
	plain bool
	final string // URL after redirects

	conn     *connection
	offset   int64   // of the next byte that is delivered
	limit    int64   // from here on nothing is wanted; 0 for the end of the file
	bounded  bool    // ask for no more than what is before limit
	through  bool    // not to give up the connection before there is another one
	crowded  bool    // others of ours were there, and may be why a server refuses
	floor    float64 // what a connection has to bring, in bytes per second
	skip     int64   // bytes of the connection that were delivered before
	ended    bool
	failures int // since the last byte
	received *atomic.Int64
}

// Read delivers the next bytes of the file.
func (r *remote) Read(p []byte) (int, error) {
	for {
		if r.entity.Size >= 0 && r.offset >= r.entity.Size && !r.ended {
			if err := r.probe(); err != nil {
				return 0, err
			}
			r.ended = true
		}
		if r.ended || r.unchanged {
			r.hangUp()
			return 0, io.EOF
		}
		if err := r.connect(); err != nil {
			return 0, err
		}
		n, err := r.receive(p)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
	}
}

// receive reads once from the connection. Without error it may deliver nothing.
func (r *remote) receive(p []byte) (int, error) {
	n, err := r.conn.Read(r.window(p))
	r.received.Add(int64(n))
	if r.skip > 0 {
		r.skip -= int64(n)
		n = 0
	}
	if r.offset+int64(n) > r.request.MaxSize {
		return 0, fmt.Errorf("%w: more than the %d bytes allowed", ErrTooLarge, r.request.MaxSize)
	}
	r.offset += int64(n)
	if n > 0 {
		r.failures, r.crowded = 0, false
		return n, nil // an error comes again
	}
	if errors.Is(err, io.EOF) {
		if r.entity.Size < 0 && r.skip == 0 {
			r.ended = true
			return 0, nil
		}
		err = &lostError{ErrTruncated}
	}
	if err != nil {
		return 0, r.retry(err)
	}
	return 0, nil
}

// window is the part of p that the next bytes go to: no more than what is skipped, or than what is wanted.
func (r *remote) window(p []byte) []byte {
	left := int64(len(p))
	switch {
	case r.skip > 0:
		left = min(left, r.skip)
	case r.limit > 0:
		left = min(left, r.limit-r.offset)
	case r.entity.Size >= 0:
		left = min(left, r.entity.Size-r.offset)
	}
	return p[:left]
}

// probe looks behind the last byte where the length of the response was not told by its headers.
func (r *remote) probe() error {
	if r.conn == nil || r.conn.resp.ContentLength >= 0 || r.skip > 0 {
		return nil
	}
	var more [1]byte
	if n, _ := r.conn.Read(more[:]); n > 0 {
		return fmt.Errorf("%w: the server sent more than the %d bytes it promised", ErrTooLarge, r.entity.Size)
	}
	return nil
}

// connect makes sure that there is a connection which delivers from offset on.
func (r *remote) connect() error {
	for r.conn == nil && !r.ended && !r.unchanged {
		err := r.attempt()
		if err == nil {
			continue
		}
		if err := r.retry(err); err != nil {
			return err
		}
	}
	return nil
}

// attempt sends one request. The rest of a file is asked for where its begin was found: redirects may lead to another
// server by then, whose copy may have other validators. If it is not to be had there any more, or not at the first try, they
// are asked again.
func (r *remote) attempt() error {
	if r.found == nil || r.failures > 1 || !r.bounded && r.from() == 0 {
		return r.ask(r.url)
	}
	err := r.ask(r.found)
	if status, refused := errors.AsType[*StatusError](err); !refused || status.temporary() {
		return err
	}
	r.found = nil
	return r.ask(r.url)
}

// ask sends one request to a URL.
func (r *remote) ask(where *url.URL) error {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return describe(err)
	}
	if user := r.user; user != nil && where.Scheme == r.url.Scheme && where.Host == r.url.Host {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	r.header(req.Header)
	conn, err := r.client.connect(req, r.floor)
	if err != nil {
		return err
	}
	r.conn = conn
	if err := r.judge(conn.resp); err != nil {
		r.hangUp()
		return err
	}
	if r.ended || r.unchanged {
		r.hangUp()
	}
	return nil
}

func (r *remote) header(h http.Header) {
	h.Set("User-Agent", r.client.options.UserAgent)
	if !r.known || r.speculative {
		if len(r.request.ETags) > 0 {
			h.Set("If-None-Match", strings.Join(r.request.ETags, ", "))
		}
		if !r.request.ModifiedSince.IsZero() {
			h.Set("If-Modified-Since", r.request.ModifiedSince.UTC().Format(http.TimeFormat))
		}
	}
	switch from := r.from(); {
	case r.bounded:
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", r.offset, r.limit-1))
	case from > 0:
		h.Set("Range", fmt.Sprintf("bytes=%d-", from))
	default:
		return
	}
	h.Set("If-Range", r.entity.condition())
}

// from is where the next response shall begin. Of a file that is complete the last byte is asked for: the answer to an
// empty range would not say whether the file is still the same.
func (r *remote) from() int64 {
	if r.plain || r.offset == 0 || r.entity.condition() == "" {
		return 0
	}
	if r.offset == r.entity.Size {
		return r.offset - 1
	}
	return r.offset
}

// retry waits before the next attempt, or returns why there is none.
func (r *remote) retry(err error) error {
	r.hangUp()
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if !r.mayPass(err) {
		return err
	}
	if r.offset > 0 && r.entity.condition() == "" {
		return fmt.Errorf("connection lost after %d bytes: %w; %w", r.offset, err, ErrNotResumable)
	}
	r.failures++
	if r.failures > max(r.client.options.Retries, 0) {
		if r.failures == 1 {
			return err
		}
		return fmt.Errorf("gave up after %d attempts: %w", r.failures, err)
	}
	wait := r.wait(err)
	r.client.logf("Fetching %s: %v; trying again in %s.", redacted(r.url), err, wait.Round(100*time.Millisecond))
	return r.client.sleep(r.ctx, wait)
}

// mayPass says whether trying again may help.
func (r *remote) mayPass(err error) bool {
	return temporary(err, r.answered) || r.crowded && isStatus(err) && !errors.Is(err, ErrNotFound)
}

// wait doubles with each failure, by chance up to a half longer or shorter; a server that names a time is heard.
func (r *remote) wait(err error) time.Duration {
	base := r.client.options.BackoffBase
	d := min(base<<min(r.failures-1, 16), max(maxBackoff, base))
	d = d/2 + rand.N(d+1)
	if status, ok := errors.AsType[*StatusError](err); ok {
		d = max(d, status.retryAfter)
	}
	return d
}

// hangUp closes the connection.
func (r *remote) hangUp() {
	if r.conn != nil {
		r.conn.close()
		r.conn = nil
	}
	r.skip = 0
}

// seek makes the next bytes those from an offset on. None is delivered from limit on.
func (r *remote) seek(offset, limit int64) {
	r.limit = limit
	ahead := offset - r.offset
	if ahead == 0 || ahead > 0 && r.through && r.conn != nil && r.skipTo(offset) {
		return
	}
	r.hangUp()
	r.offset, r.ended = offset, false
}

// skipTo moves on to an offset by a new connection, or by reading on to it where a server does not give one.
func (r *remote) skipTo(offset int64) bool {
	if offset == r.entity.Size {
		return false // nothing more is wanted
	}
	other := *r
	other.conn, other.offset, other.skip = nil, offset, 0
	if err := other.attempt(); err == nil && other.skip == 0 {
		r.conn.close()
		*r = other
		return true
	}
	if other.conn != nil {
		other.conn.close()
	}
	r.skip += offset - r.offset
	r.offset = offset
	return true
}
