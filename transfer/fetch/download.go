package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"berth/transfer/fetch/spool"
)

// Download streams one file. Read returns io.EOF only when all that was promised has come. It is for one goroutine; to
// interrupt a Read, end the context that was given to [Client.Open].
type Download struct {
	request Request
	source  source
	cancel  context.CancelFunc
	spool   *spool.File // nil without one
	lane    *spool.Lane
	offset  int64 // of the next byte that is delivered
	resumed int64
	fetched int64     // over one connection
	since   time.Time // when that began
	rate    rate
	// parallel is several connections at work; single says that there shall not be (again).
	parallel *parallel
	single   bool
	err      error
}

// source is what delivers the bytes that are not in a spool.
type source interface {
	io.Reader
	// about returns what is known of the file, its URL, and whether the caller has it already.
	about() (e entity, url string, unchanged bool)
	bytes() int64
	close() error
}

var (
	_ source        = (*remote)(nil)
	_ source        = (*local)(nil)
	_ io.ReadCloser = (*Download)(nil)
)

func (c *Client) openRemote(ctx context.Context, u *url.URL, req Request) (*Download, error) {
	u.Fragment, u.RawFragment = "", ""
	ctx, cancel := context.WithCancel(ctx)
	r := &remote{ctx: ctx, client: c, request: req, url: u, user: u.User, received: new(atomic.Int64)}
	u.User = nil
	s := c.openSpool(req)
	if s != nil {
		r.suppose(s)
	}
	supposed := r.speculative
	if err := r.connect(); err != nil {
		cancel()
		return nil, errors.Join(err, s.Close())
	}
	d := &Download{request: req, source: r, cancel: cancel, spool: s}
	switch {
	case s == nil:
	case r.unchanged || !r.ranges || r.entity.Size <= 0 || r.entity.condition() == "":
		d.dropSpool(s.Discard())
	case !supposed || r.forgot:
		if err := startSpool(s, r.entity); err != nil {
			d.spoolFailed(err)
		}
	}
	if d.spool != nil {
		d.lane = d.spool.Lane()
	}
	return d, nil
}

// Read delivers the next bytes.
func (d *Download) Read(p []byte) (n int, err error) {
	if d.err != nil {
		return 0, d.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if d.spool != nil {
		n, err = d.readSpool(p)
	}
	if n == 0 && err == nil {
		n, err = d.readSource(p)
	}
	d.offset += int64(n)
	if d.request.Progress != nil {
		d.request.Progress.Add(int64(n))
	}
	d.err = err
	return n, err
}

func (d *Download) readSource(p []byte) (int, error) {
	if d.spool != nil {
		d.source.(*remote).seek(d.offset, d.spool.Gap(d.passed()).End)
	}
	started := time.Now()
	if d.since.IsZero() {
		d.since = started
	}
	n, err := d.source.Read(p)
	d.rate.add(n, time.Since(started))
	d.fetched += int64(n)
	if d.spool != nil && n > 0 && d.worthKeeping() {
		if err := d.lane.Write(p[:n], d.offset); err != nil {
			d.spoolFailed(err)
		}
	}
	if err == nil {
		d.splitConnection()
		return n, nil
	}
	return n, d.failed(err)
}

// failed tells of what was fetched why that ended.
func (d *Download) failed(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	_, url, _ := d.source.about()
	if d.spool != nil && errors.Is(err, ErrChanged) {
		d.dropSpool(d.spool.Discard())
	}
	return fmt.Errorf("fetch %q: %w", url, err)
}

// Size returns the length of the whole file in bytes, -1 if the server does not tell.
func (d *Download) Size() int64 { e, _, _ := d.source.about(); return e.Size }

// ETag returns the entity tag with its quotes, "" if there is none. If the file is not modified it is one of those that
// were given in the request, letter by letter.
func (d *Download) ETag() string { e, _, _ := d.source.about(); return e.ETag }

// URL returns where the file was found after redirects, without credentials.
func (d *Download) URL() string { _, url, _ := d.source.about(); return url }

// LastModified returns the time of the file, zero if unknown.
func (d *Download) LastModified() time.Time {
	e, _, _ := d.source.about()
	t, _ := http.ParseTime(e.Modified) // zero if there is none
	return t
}

// NotModified says that the caller has the current version; there is nothing to read then.
func (d *Download) NotModified() bool { _, _, same := d.source.about(); return same }

// Resumed returns how many of the delivered bytes came from the spool.
func (d *Download) Resumed() int64 { return d.resumed }

// Received returns how many bytes of bodies came over the network, or were read from a local file.
func (d *Download) Received() int64 { return d.source.bytes() }

// Close ends the download, the first time that it is called. What was received stays in the spool for a later one.
func (d *Download) Close() error {
	if errors.Is(d.err, errClosed) {
		return nil
	}
	d.stop()
	err := errors.Join(d.source.close(), d.spool.Close())
	d.spool, d.err = nil, errClosed
	return err
}

// stop ends what still fetches.
func (d *Download) stop() {
	if d.cancel != nil {
		d.cancel()
	}
	if d.parallel != nil {
		d.parallel.end()
		d.parallel = nil
	}
}

// Finish ends a download whose content has found its place, and removes the spool.
func (d *Download) Finish() error { return errors.Join(d.removeSpool(), d.Close()) }

// Discard ends a download whose content is not what it should be, and removes the spool, so that the next one starts
// from the beginning.
func (d *Download) Discard() error { return d.Finish() }

func (d *Download) removeSpool() error {
	d.stop()
	if d.spool == nil {
		return nil
	}
	err := d.spool.Discard()
	d.spool = nil
	return err
}

var errClosed = errors.New("the download is closed")

func (r *remote) about() (entity, string, bool) { return r.entity, r.final, r.unchanged }
func (r *remote) bytes() int64                  { return r.received.Load() }
func (r *remote) close() error                  { r.hangUp(); return nil }
