package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Download streams one file. Read returns io.EOF only when all that was promised has come. It is for one goroutine; to
// interrupt a Read, end the context that was given to [Client.Open].
type Download struct {
	request Request
	source  source
	spool   *spool // nil without one
	lane    lane
	offset  int64 // of the next byte that is delivered
	resumed int64
	err     error
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
	r := &remote{ctx: ctx, client: c, request: req, url: u, user: u.User}
	u.User = nil
	s := c.openSpool(req)
	if s != nil && len(s.have) > 0 {
		r.entity, r.known, r.speculative = s.entity, true, true
		r.offset = s.gap(nil).first
	}
	speculative := r.speculative
	if err := r.connect(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	d := &Download{request: req, source: r, spool: s, lane: lane{spool: s}}
	switch {
	case s == nil:
	case r.unchanged || !r.ranges || r.entity.Size <= 0 || r.entity.condition() == "":
		d.dropSpool(s.discard())
	case !speculative || r.forgot:
		if err := s.start(r.entity); err != nil {
			d.spoolFailed(c, err)
		}
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
		n = d.readSpool(p)
	}
	if n == 0 {
		n, err = d.readSource(p)
	}
	d.offset += int64(n)
	if d.request.Progress != nil {
		d.request.Progress.Add(int64(n))
	}
	d.err = err
	return n, err
}

// readSpool delivers what the spool has. Where that is damaged it leaves the rest to the server.
func (d *Download) readSpool(p []byte) int {
	n, earlier, err := d.spool.read(p, d.offset)
	if earlier {
		d.resumed += int64(n)
	}
	if err != nil {
		d.source.(*remote).client.logf("%v; fetching that again.", err)
	}
	return n
}

func (d *Download) readSource(p []byte) (int, error) {
	if d.spool != nil {
		d.source.(*remote).seek(d.offset, d.spool.gap(nil).end)
	}
	n, err := d.source.Read(p)
	if d.spool != nil && n > 0 {
		if err := d.lane.write(p[:n], d.offset); err != nil {
			d.spoolFailed(d.source.(*remote).client, err)
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	_, url, _ := d.source.about()
	if d.spool != nil && errors.Is(err, ErrChanged) {
		d.dropSpool(d.spool.discard())
	}
	return n, fmt.Errorf("fetch %q: %w", url, err)
}

// spoolFailed goes on without a spool. What it takes on a full disk is given back to the image.
func (d *Download) spoolFailed(c *Client, err error) {
	err = errors.Join(err, d.spool.discard())
	d.spool, d.source.(*remote).limit = nil, 0
	c.logf("An interrupted download cannot be resumed: %v.", err)
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
	err := errors.Join(d.source.close(), d.spool.close())
	d.spool, d.err = nil, errClosed
	return err
}

// Finish ends a download whose content has found its place, and removes the spool.
func (d *Download) Finish() error { return errors.Join(d.removeSpool(), d.Close()) }

// Discard ends a download whose content is not what it should be, and removes the spool, so that the next one starts
// from the beginning.
func (d *Download) Discard() error { return d.Finish() }

func (d *Download) removeSpool() error {
	if d.spool == nil {
		return nil
	}
	err := d.spool.discard()
	d.spool = nil
	return err
}

var errClosed = errors.New("the download is closed")

func (r *remote) about() (entity, string, bool) { return r.entity, r.final, r.unchanged }
func (r *remote) bytes() int64                  { return r.received }
func (r *remote) close() error                  { r.hangUp(); return nil }
