package apart

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrBusy says that there are as many processes as there may be. Those of a
// machine whose file systems do not answer are there until it has ended.
var ErrBusy = errors.New("too many processes wait for file systems of machines")

// limits of how many processes there may be.
type limits struct {
	machine, user int
	all           int // also for root's machines together
}

// gate counts processes.
type gate struct {
	limits limits

	mu       sync.Mutex
	machines map[int]int // by PID of the leader, which a new machine has only when the old one has ended
	users    map[uint32]int
	all      int
	changed  chan struct{} // closed and replaced when one has ended
}

func newGate(l limits) *gate {
	return &gate{limits: l, machines: map[int]int{}, users: map[uint32]int{}, changed: make(chan struct{})}
}

func (g *gate) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all == 0
}

// enter waits until there may be one more process, which leave is to be called
// for when it has ended.
func (g *gate) enter(ctx context.Context, m Machine) (leave func(), err error) {
	for {
		leave, changed, err := g.try(m)
		if err == nil {
			return leave, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// tryEnter is enter that does not wait.
func (g *gate) tryEnter(m Machine) (leave func(), err error) {
	leave, _, err = g.try(m)
	return leave, err
}

func (g *gate) try(m Machine) (leave func(), changed <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.machines[m.PID] >= g.limits.machine:
		return nil, g.changed, fmt.Errorf("%w: %d of this one", ErrBusy, g.limits.machine)
	case m.User != 0 && g.users[m.User] >= g.limits.user:
		return nil, g.changed, fmt.Errorf("%w: %d of user %d", ErrBusy, g.limits.user, m.User)
	case g.all >= g.limits.all:
		return nil, g.changed, fmt.Errorf("%w: %d in all", ErrBusy, g.limits.all)
	}
	g.count(m, 1)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.count(m, -1)
		close(g.changed)
		g.changed = make(chan struct{})
	}, nil, nil
}

// count is called with the lock held.
func (g *gate) count(m Machine, by int) {
	g.all += by
	if g.machines[m.PID] += by; g.machines[m.PID] == 0 {
		delete(g.machines, m.PID)
	}
	if g.users[m.User] += by; g.users[m.User] == 0 {
		delete(g.users, m.User)
	}
}
