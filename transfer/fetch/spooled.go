package fetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/transfer/fetch/spool"
)

const (
	// alwaysKept is how much of the begin of a file is kept in any case, in bytes.
	alwaysKept = 16 << 20
	// fasterThanDisk is what comes again sooner than it is written and read, in bytes per second.
	fasterThanDisk = 200 << 20
)

// worthKeeping says whether what comes just now is to be kept for a later attempt. It is not where a download is faster
// than a disk, all that is done with it included: to write it down would only make it slower.
func (d *Download) worthKeeping() bool {
	return d.offset < alwaysKept || float64(d.fetched) < fasterThanDisk*time.Since(d.since).Seconds()
}

// passed is what was delivered, and is of no interest to this download even where it was not kept.
func (d *Download) passed() spool.Spans {
	if d.offset == 0 {
		return nil
	}
	return spool.Spans{{First: 0, End: d.offset}}
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

// readSpool delivers what the spool has, or will have as long as several connections fill it. Where it is damaged it
// leaves the rest to the server.
func (d *Download) readSpool(p []byte) (int, error) {
	for d.parallel == nil || d.parallel.await(d.offset) {
		n, earlier, err := d.spool.Read(p, d.offset)
		switch {
		case errors.Is(err, spool.ErrDamaged):
			d.source.(*remote).client.logf("%v; fetching that again.", err)
			d.parallel.lost()
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

// splitConnection goes on over several connections where one is slow, and where it is safe: only what a server can
// resume may be put together of parts, and only if they do not fill the disk before the image does.
func (d *Download) splitConnection() {
	if d.spool == nil || d.single {
		return
	}
	r := d.source.(*remote)
	missing := r.entity.Size - d.offset
	if missing < worthwhile || r.plain || r.client.enough(d.rate) || d.spool.Room() < 2*missing {
		return
	}
	r.client.logf("One connection brings %s; fetching over up to %d.", d.rate, maxConnections)
	d.parallel = startParallel(r, d.spool, d.passed(), d.rate)
	d.rate = rate{}
}

// joinConnections goes on over one connection, or says why there is no way.
func (d *Download) joinConnections() error {
	p := d.parallel
	p.end()
	d.parallel = nil
	d.fetched, d.since = 0, time.Time{}
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
