package fetch

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/transfer/fetch/spool"
)

const (
	// maxConnections is how many connections of one download are at work at most: what browsers open to a host.
	maxConnections = 6
	// maxHired is how many helpers may come to nothing before there are no more.
	maxHired = 3 * maxConnections
	// worthwhile is how much must be missing for further connections to be worth their handshakes, in bytes.
	worthwhile = 8 << 20
	// partBuffer is how much is read at once.
	partBuffer = 128 << 10
	// partStallTimeout is how long a further connection may be slow, which is slowPart times slower than the first one
	// was: others can do its work.
	partStallTimeout = 10 * time.Second
	slowPart         = 16
	// restWindow is how long the others may be slower than the first connection was.
	restWindow = 5 * time.Second
)

// parallel fills a spool over several connections. The first, lead, is the one that the download began with: it goes on
// with the file as it would alone. The others, the helpers, take parts that come later. Each takes the first part that is
// missing, so that the reader gets what it needs soon.
//
// Lead is never given up for the others. When it comes to what they fetch, it rests, until they are done or have failed.
// So a server that refuses parts, after a while or at once, or has another version of the file behind another
// connection, costs time and not the download.
type parallel struct {
	spool  *spool.File
	passed spool.Spans // what the reader has behind it
	// origin is the download's own view of the file, which is what lead, the copy of it that works, ends as.
	origin, lead *remote
	first        float64         // what the first connection brought alone, in bytes per second
	helpers      context.Context // of them all
	dismiss      context.CancelFunc
	working      sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // something came, or somebody ended
	claims  []*claim
	helping int
	budget  int   // helpers that may still be hired; one that has brought a part is free
	brought int64 // bytes, by helpers
	resting rest  // of lead, zero while it works
	refused bool  // no more helpers
	over    bool  // everybody is to stop
	ended   bool  // nothing will come any more

	// Known once it has ended.
	err    error // why what is missing will not come
	broken error // why the spool is of no use any more
}

// startParallel begins with the connection of r, which is not to be used before end.
func startParallel(r *remote, s *spool.File, passed spool.Spans, first rate) *parallel {
	p := &parallel{spool: s, passed: passed, origin: r, first: first.perSecond(), budget: maxHired}
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
		switch {
		case p.broken != nil:
			return false
		case p.spool.Has(offset):
			return true
		case p.ended:
			return false
		}
		p.changed.Wait()
	}
}

// lost tells of a stretch that is missing though it was not before.
func (p *parallel) lost() {
	if p != nil {
		p.set(p.hire)
	}
}

// spoil ends it because of the spool.
func (p *parallel) spoil(err error) {
	p.set(func() { p.broken, p.over = err, true })
}

// end stops what is still at work; the download goes on from where lead is.
func (p *parallel) end() {
	p.set(func() { p.over = true })
	p.dismiss()
	p.working.Wait()
	r := p.lead
	r.limit, r.failures, r.through, r.crowded = 0, 0, true, true
	*p.origin = *r
}

// leads is the work of the first connection.
func (p *parallel) leads() {
	err := p.work(p.lead, p.claimNext)
	p.dismiss()
	p.set(func() {
		p.ended = true
		if !isRefusal(err) && !isStatus(err) { // without helpers that may be another matter
			p.err = err
		}
	})
}

// help is the work of a helper.
func (p *parallel) help(r *remote) {
	err := p.work(r, p.claimAny)
	r.hangUp()
	p.set(func() {
		p.helping--
		switch {
		case isRefusal(err):
			p.refused, p.over = true, true
		case isStatus(err):
			p.refused = true
		}
		p.hire()
	})
}

// isRefusal tells answers that speak against parts, and not against the file.
func isRefusal(err error) bool { return errors.Is(err, ErrChanged) || errors.Is(err, errNoParts) }

func isStatus(err error) bool {
	_, ok := errors.AsType[*StatusError](err)
	return ok
}

// work fetches part after part over one connection, until there are none or something is wrong.
func (p *parallel) work(r *remote, next func() *claim) error {
	w := p.spool.Lane()
	buf := make([]byte, partBuffer)
	for {
		c := next()
		if c == nil {
			return nil
		}
		r.seek(c.part.First, c.part.End)
		err := p.fetch(r, w, buf, c)
		p.release(c)
		if err != nil {
			return err
		}
	}
}

// hire starts helpers as long as there is work for them.
func (p *parallel) hire() {
	most := maxConnections
	if p.resting == (rest{}) {
		most-- // lead
	}
	work := p.missing()
	for ; work > 0 && p.helping < most && p.budget > 0 && !p.refused && !p.over && !p.ended; work -= minPart {
		h := *p.origin
		h.ctx, h.client, h.conn, h.skip, h.bounded, h.floor = p.helpers, p.origin.client.parts, nil, 0, true, p.first/slowPart
		p.helping++
		p.budget--
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
		if broken := w.Write(buf[:n], from); broken != nil {
			p.spoil(broken)
			break
		}
		p.set(func() { p.arrived(r, c, int64(n)) })
	}
	if r.bounded {
		r.hangUp()
	}
	return nil
}

// arrived notes what has come of a part.
func (p *parallel) arrived(r *remote, c *claim, n int64) {
	c.left.First += n
	r.limit = c.left.End // another one may have taken its half
	if !r.bounded {
		return // it was lead
	}
	p.brought += n
	if c.left.Empty() {
		p.budget = min(p.budget+1, maxHired)
	}
}

// missing returns how much is neither there nor being fetched, in bytes.
func (p *parallel) missing() int64 { return p.spool.Missing(p.claimed(true)) }

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
