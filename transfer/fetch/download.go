package fetch

import (
	"context"
	"encoding/json"
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

// openSpool returns nil where no spool is wanted or to be had.
func (c *Client) openSpool(req Request) *spool.File {
	if req.Spool == "" {
		return nil
	}
	s, err := spool.Open(req.Spool, req.URL)
	if err != nil {
		c.logf("An interrupted download cannot be resumed: %v.", err)
		return nil
	}
	return s
}

func startSpool(s *spool.File, e entity) error {
	about, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write spool header: %w", err)
	}
	return s.Start(e.Size, about)
}

// suppose takes what a spool has for the begin of the file, until a server tells.
func (r *remote) suppose(s *spool.File) {
	e, err := spooledEntity(s.About())
	if err != nil {
		return // it is written anew
	}
	r.entity, r.known, r.speculative = e, true, true
	r.offset = s.Gap(nil).First
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

// readSpool delivers what the spool has, or will have as long as several connections fill it. Where it is damaged it
// leaves the rest to the server.
func (d *Download) readSpool(p []byte) (int, error) {
	for d.parallel == nil || d.parallel.await(d.offset) {
		n, earlier, err := d.spool.Read(p, d.offset)
		switch {
		case errors.Is(err, spool.ErrDamaged):
			d.source.(*remote).client.logf("%v; fetching that again.", err)
			d.parallel.wake()
		case err != nil && d.parallel != nil:
			d.parallel.spoil(err)
		case err != nil:
			d.leaveSpool(err)
		}
		if earlier {
			d.resumed += int64(n)
		}
		if n > 0 || d.parallel == nil {
			return n, nil
		}
	}
	return 0, d.joinConnections()
}

func (d *Download) readSource(p []byte) (int, error) {
	if d.spool != nil {
		d.source.(*remote).seek(d.offset, d.spool.Gap(nil).End)
	}
	started := time.Now()
	n, err := d.source.Read(p)
	d.rate.add(n, time.Since(started))
	if d.spool != nil && n > 0 {
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

// splitConnection goes on over several connections where one is slow, and where it is safe: only what a server can
// resume may be put together of parts, and only if they do not fill the disk before the image does.
func (d *Download) splitConnection() {
	if d.spool == nil || d.single {
		return
	}
	r := d.source.(*remote)
	missing := d.spool.Missing(nil)
	if missing < worthwhile || r.plain || r.client.enough(d.rate) || d.spool.Room() < 2*missing {
		return
	}
	r.client.logf("One connection brings %s; fetching over up to %d.", d.rate, maxConnections)
	d.parallel = startParallel(r, d.spool, d.rate)
	d.rate = rate{}
}

// joinConnections goes on over one connection, or says why there is no way.
func (d *Download) joinConnections() error {
	p := d.parallel
	p.end()
	d.parallel = nil
	d.single = p.refused || p.budget == 0
	if p.broken != nil {
		d.leaveSpool(p.broken)
	}
	if p.err != nil {
		return d.failed(p.err)
	}
	return nil
}

// leaveSpool has all that was not delivered come from the server.
func (d *Download) leaveSpool(err error) {
	d.spoolFailed(err)
	d.source.(*remote).seek(d.offset, 0)
}

// spoolFailed goes on without a spool. What it takes on a full disk is given back to the image.
func (d *Download) spoolFailed(err error) {
	r := d.source.(*remote)
	err = errors.Join(err, d.spool.Discard())
	d.spool, r.limit = nil, 0
	r.client.logf("An interrupted download cannot be resumed: %v.", err)
}

// dropSpool forgets a spool that is of no use; that it cannot be removed is no reason to end the download.
func (d *Download) dropSpool(err error) {
	r := d.source.(*remote)
	d.spool, r.limit = nil, 0
	if err != nil {
		r.client.logf("Leaving a useless spool behind: %v.", err)
	}
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
