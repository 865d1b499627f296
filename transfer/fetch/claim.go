package fetch

import (
	"slices"

	"berth/transfer/fetch/spool"
)

// What one request asks for, in bytes.
const (
	minPart = 1 << 20
	maxPart = 32 << 20
)

// claim is a part that one of the connections fetches.
type claim struct {
	left  spool.Span // what has not come yet
	begun bool       // the server has agreed to send it
	lost  bool       // lead has taken it away
}

// take claims the first part that is missing. Lead waits for one: what a helper gives up is left to it.
func (p *parallel) take(lead bool) *claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.over {
		if part := p.next(lead); !part.Empty() {
			c := &claim{left: part}
			p.claims = append(p.claims, c)
			if lead {
				p.hire()
			}
			return c
		}
		if len(p.claims) == 0 || !lead {
			break
		}
		p.changed.Wait()
	}
	return nil
}

// next returns the first part that nobody fetches. Lead does not give up the connection it began with for a helper that
// has no answer yet: it takes the part away from such a one.
func (p *parallel) next(lead bool) spool.Span {
	all := p.claimed(true)
	if lead && !p.moved {
		if part := p.spool.Gap(p.claimed(false)); part.First == p.lead.offset {
			part = p.cut(part, all)
			p.claims = slices.DeleteFunc(p.claims, func(c *claim) bool {
				c.lost = c.left.First < part.End && c.left.End > part.First
				return c.lost
			})
			return part
		}
	}
	part := p.spool.Gap(all)
	if lead && !part.Empty() {
		p.moved, p.lead.bounded = true, true
	}
	return p.cut(part, all)
}

// cut makes a part of a stretch. Parts become smaller towards the end of the file, so that all connections come to it at
// about the same time.
func (p *parallel) cut(from spool.Span, claimed spool.Spans) spool.Span {
	size := p.spool.Missing(claimed) / maxConnections
	return spool.Span{First: from.First, End: min(from.End, from.First+min(max(size, minPart), maxPart))}
}

// claimed returns what is being fetched, with or without the parts that servers have not agreed to.
func (p *parallel) claimed(all bool) (s spool.Spans) {
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
func (p *parallel) release(c *claim, helped bool) {
	p.set(func() {
		p.claims = slices.DeleteFunc(p.claims, func(one *claim) bool { return one == c })
		if helped && !c.lost {
			p.penalty = 0
		}
	})
}
