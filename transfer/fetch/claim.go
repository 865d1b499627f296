package fetch

import (
	"cmp"
	"slices"
	"time"

	"berth/transfer/fetch/spool"
)

// What one request asks for, in bytes.
const (
	minPart = 1 << 20
	maxPart = 32 << 20
)

// claim is a part that one of the connections fetches.
type claim struct {
	part  spool.Span // what it was at first
	left  spool.Span // what has not come yet, and nobody has taken away
	begun bool       // the server has agreed to send it
	lost  bool       // lead has taken all of it
}

// claimNext gives lead what its connection brings next, or nil if there is nothing to do for it any more. Where others
// fetch that, lead rests, as long as they are not slower than it would be.
func (p *parallel) claimNext() *claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = rest{since: time.Now(), brought: p.brought}
	defer func() { p.resting = rest{} }()
	for !p.over {
		// What a helper has no answer for yet is not worth resting.
		if part := p.spool.Gap(p.claimed(false)); part.First == p.lead.offset && !part.Empty() {
			part = p.cut(part)
			p.takeAway(part)
			c := p.claim(part)
			p.resting = rest{}
			p.hire()
			return c
		}
		p.hire()
		if p.helping == 0 || p.spool.Missing(p.passed) == 0 {
			break
		}
		if p.tooSlow() {
			p.refused, p.over = true, true
			break
		}
		p.changed.Wait()
	}
	return nil
}

// rest is a time in which lead does nothing.
type rest struct {
	since   time.Time
	brought int64 // by helpers before
}

// tooSlow compares what helpers have brought while lead rests with what it would have brought.
func (p *parallel) tooSlow() bool {
	took := time.Since(p.resting.since)
	if took < restWindow {
		return false
	}
	brought := p.brought - p.resting.brought
	p.resting = rest{since: time.Now(), brought: p.brought}
	return float64(brought) < p.first*took.Seconds()/2
}

// claimAny gives a helper the first part that nobody fetches, or else the second half of the largest, or nil.
func (p *parallel) claimAny() *claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	if part := p.spool.Gap(p.claimed(true)); !part.Empty() {
		return p.claim(p.cut(part))
	}
	return p.halve()
}

func (p *parallel) claim(part spool.Span) *claim {
	c := &claim{part: part, left: part}
	p.claims = append(p.claims, c)
	return c
}

// cut makes a part of a stretch. Parts become smaller towards the end of the file, so that all connections come to it at
// about the same time.
func (p *parallel) cut(from spool.Span) spool.Span {
	size := p.missing() / maxConnections
	return spool.Span{First: from.First, End: min(from.End, from.First+min(max(size, minPart), maxPart))}
}

// takeAway ends the claims that have to do with a part.
func (p *parallel) takeAway(part spool.Span) {
	p.claims = slices.DeleteFunc(p.claims, func(c *claim) bool {
		c.lost = c.left.First < part.End && c.left.End > part.First
		return c.lost
	})
}

// halve takes over half of the largest part. What is left of it is more than its connection can be reading just now.
func (p *parallel) halve() *claim {
	if len(p.claims) == 0 {
		return nil
	}
	length := func(c *claim) int64 { return c.left.End - c.left.First }
	largest := slices.MaxFunc(p.claims, func(a, b *claim) int { return cmp.Compare(length(a), length(b)) })
	if length(largest) < 2*minPart {
		return nil
	}
	half := spool.Span{First: largest.left.First + length(largest)/2, End: largest.left.End}
	largest.left.End = half.First
	return p.claim(half)
}

// claimed returns what is not to be fetched any more or is being fetched, with or without the parts that servers have not
// agreed to.
func (p *parallel) claimed(all bool) spool.Spans {
	s := slices.Clone(p.passed)
	for _, c := range p.claims {
		if all || c.begun {
			s.Add(c.left)
		}
	}
	return s
}

// begin makes sure of a claim when the server sends it.
func (p *parallel) begin(c *claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.begun = true
	return !c.lost
}

// release gives up what is left of a claim.
func (p *parallel) release(c *claim) {
	p.set(func() {
		p.claims = slices.DeleteFunc(p.claims, func(one *claim) bool { return one == c })
	})
}
