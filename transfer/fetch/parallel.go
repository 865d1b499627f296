package fetch

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/transfer/fetch/spool"
)

const (
	// maxConnections is how many connections one download has at most: what browsers open to a host.
	maxConnections = 6
	// worthwhile is how much must be missing for further connections to be worth their handshakes, in bytes.
	worthwhile = 8 << 20
	// partBuffer is how much is read at once.
	partBuffer = 128 << 10
	// partStallTimeout is how long a further connection may bring nothing: others can do its work.
	partStallTimeout = 10 * time.Second
	// maxPatience bounds how many parts are fetched before further connections are tried again.
	maxPatience = 63
)

// parallel fills a spool over several connections. The first is the one that the download began with: it gets on with
// the file as it would alone, and fails as it would. The others, the helpers, take parts off it for as long as all is
// well with them. Each takes the first part that is missing, so that the reader gets what it needs soon.
//
// A server that answers a helper with another version, or with no part, ends it all: then the first connection, if it
// has not been given up yet, is read on to its end, as copies of the file may differ between the servers behind one name.
type parallel struct {
	spool *spool.File
	// origin is the download's own view of the file, which is what lead, the copy of it that works, ends as.
	origin, lead *remote
	helpers      context.Context // of them all
	dismiss      context.CancelFunc
	working      sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond // something came, or somebody ended
	claims   []*claim
	helping  int
	patience int  // parts to fetch before helpers are tried again
	penalty  int  // what patience was at first, 0 once a helper has brought a part
	moved    bool // lead has given up the connection it began with
	refused  bool // the server does not do its part: no more helpers
	over     bool // lead is to stop as soon as it can
	ended    bool // nothing will come any more

	// Known once it has ended.
	err  error // why what is missing will not come
	full error // why the spool cannot be written
}

func startParallel(r *remote, s *spool.File) *parallel {
	p := &parallel{spool: s, origin: r}
	p.changed.L = &p.mu
	p.helpers, p.dismiss = context.WithCancel(r.ctx)
	lead := *r
	p.lead = &lead
	p.working.Go(p.leads)
	return p
}

// await waits for the byte at an offset. It is false when that will not come.
func (p *parallel) await(offset int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.spool.Has(offset) {
			return true
		}
		if p.ended {
			return false
		}
		p.changed.Wait()
	}
}

// end stops what is still at work; the download goes on from where lead is.
func (p *parallel) end() {
	p.set(func() { p.over = true })
	p.dismiss()
	p.working.Wait()
	r := p.lead
	if p.moved {
		r.hangUp()
	}
	r.bounded, r.limit, r.through = false, 0, !p.moved
	*p.origin = *r
}

// leads is the work of the first connection.
func (p *parallel) leads() {
	err := p.work(p.lead, true)
	p.dismiss()
	p.set(func() {
		p.ended = true
		if !isRefusal(err) { // alone it may go on all the same
			p.err = err
		}
	})
}

// isRefusal tells answers that speak against parts rather than against the file.
func isRefusal(err error) bool { return errors.Is(err, ErrChanged) || errors.Is(err, errNoParts) }

// help is the work of a helper.
func (p *parallel) help(r *remote) {
	err := p.work(r, false)
	r.hangUp()
	p.set(func() {
		p.helping--
		switch {
		case err == nil || p.helpers.Err() != nil:
		case isRefusal(err):
			p.refused, p.over = true, p.over || !p.moved
		case p.patience == 0:
			p.penalty = min(2*p.penalty+1, maxPatience)
			p.patience = p.penalty
		}
	})
}

// work fetches part after part over one connection, until there are none or something is wrong.
func (p *parallel) work(r *remote, lead bool) error {
	w := p.spool.Lane()
	buf := make([]byte, partBuffer)
	for {
		c := p.take(lead)
		if c == nil {
			return nil
		}
		r.seek(c.left.First, c.left.End)
		err := p.fetch(r, w, buf, c)
		p.release(c, !lead && err == nil)
		if err != nil {
			return err
		}
	}
}

// hire starts helpers. Where they were of no use, that is tried again later and later.
func (p *parallel) hire() {
	if p.refused {
		return
	}
	if p.patience > 0 {
		p.patience--
		return
	}
	work := p.spool.Missing(p.claimed(true))
	for ; p.helping < maxConnections-1 && work > 0; work -= minPart {
		h := *p.lead
		h.ctx, h.client, h.conn, h.skip, h.bounded = p.helpers, p.lead.client.parts, nil, 0, true
		p.helping++
		p.working.Go(func() { p.help(&h) })
	}
}

// fetch brings one part, or as much of it as there is time for.
func (p *parallel) fetch(r *remote, w *spool.Lane, buf []byte, c *claim) error {
	for r.offset < r.limit && !p.isOver() {
		if err := r.connect(); err != nil {
			return err
		}
		if !p.begin(c) {
			break
		}
		from := r.offset
		n, err := r.receive(buf)
		if err != nil {
			return err
		}
		if full := w.Write(buf[:n], from); full != nil {
			p.set(func() { p.full, p.over = full, true })
			break
		}
		p.set(func() { c.left.First = from + int64(n) })
	}
	if r.bounded {
		r.hangUp()
	}
	return nil
}

func (p *parallel) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// set changes something and tells those who wait.
func (p *parallel) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}
