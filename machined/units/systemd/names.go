package systemd

import (
	"context"
	"sync"
)

// names lets one at a time make or kill the unit of a name, so that nobody kills
// the next unit for the last one.
type names struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the name is free again
}

func (n *names) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		busy := n.take(name)
		if busy == nil {
			return func() { n.release(name) }, nil
		}
		if err := wait(ctx, busy); err != nil {
			return nil, err
		}
	}
}

// take returns nil if the name is the caller's now.
func (n *names) take(name string) (busy <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if busy := n.busy[name]; busy != nil {
		return busy
	}
	if n.busy == nil {
		n.busy = map[string]chan struct{}{}
	}
	n.busy[name] = make(chan struct{})
	return nil
}

func (n *names) release(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.busy[name])
	delete(n.busy, name)
}
