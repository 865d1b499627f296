package machineapi

import (
	"context"
	"errors"
	"slices"
	"sync"

	"berth/machined"
)

// news remembers which machines were announced, so that a client has the signal
// before the reply to its own registration, and that signals which were lost
// can be made up for.
type news struct {
	mu      sync.Mutex
	known   map[string]struct{}
	gone    []string // ended while there was no daemon, and nobody was told
	waiting map[string][]chan struct{}
}

func newNews() *news {
	return &news{known: map[string]struct{}{}, waiting: map[string][]chan struct{}{}}
}

// earlier notes what an earlier daemon has announced.
func (n *news) earlier(present []machined.Machine, gone []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range present {
		if m.Class != machined.ClassHost {
			n.known[m.Name] = struct{}{}
		}
	}
	n.gone = gone
}

// takeGone gives each name once.
func (n *news) takeGone() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	gone := n.gone
	n.gone = nil
	return gone
}

// expect gives a channel that is closed when a machine of the name is announced
// from now on. forget ends the waiting.
func (n *news) expect(name string) (announced <-chan struct{}, forget func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan struct{})
	n.waiting[name] = append(n.waiting[name], c)
	return c, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.waiting[name] = slices.DeleteFunc(n.waiting[name], func(w chan struct{}) bool { return w == c })
		if len(n.waiting[name]) == 0 {
			delete(n.waiting, name)
		}
	}
}

func (n *news) announced(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[name] = struct{}{}
	for _, w := range n.waiting[name] {
		close(w)
	}
	delete(n.waiting, name)
}

// lost ends all waiting: a machine that came and went may never be announced.
func (n *news) lost() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, waiting := range n.waiting {
		for _, w := range waiting {
			close(w)
		}
	}
	clear(n.waiting)
}

func (n *news) removed(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, name)
}

// missed compares with what there is: machines never announced, and announced
// ones that have gone.
func (n *news) missed(present []string) (added, gone []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range present {
		if _, ok := n.known[name]; !ok {
			added = append(added, name)
		}
	}
	for name := range n.known {
		if !slices.Contains(present, name) {
			gone = append(gone, name)
		}
	}
	return added, gone
}

// signal is called for each change of the table of machines, in order.
func (b *Bus) signal(e machined.Event) {
	switch e.Kind {
	case machined.EventNew:
		b.announce(e.Name)
	case machined.EventRemoved:
		b.withdraw(e.Name)
	case machined.EventLost:
		var present []string
		for _, m := range b.Manager.List() {
			if m.Class != machined.ClassHost {
				present = append(present, m.Name)
			}
		}
		added, gone := b.news.missed(present)
		for _, name := range gone {
			b.withdraw(name)
		}
		for _, name := range added {
			b.announce(name)
		}
		b.news.lost()
	}
}

func (b *Bus) announce(name string) {
	b.service.Emit(busPath, busManagerName+".MachineNew", name, machinePath(name))
	b.news.announced(name)
}

func (b *Bus) withdraw(name string) {
	b.news.removed(name)
	b.service.Emit(busPath, busManagerName+".MachineRemoved", name, machinePath(name))
}

// withdrawGone tells of the machines that ended while there was no daemon. One that
// has come anew under its name was announced, or will be.
func (b *Bus) withdrawGone() {
	for _, name := range b.news.takeGone() {
		if _, err := b.Manager.Find(name); errors.Is(err, machined.ErrNoSuchMachine) {
			b.withdraw(name)
		}
	}
}

// awaitSignal runs a registration and returns when the machine was announced,
// or ctx ended.
func (b *Bus) awaitSignal(ctx context.Context, name string, register func() error) error {
	announced, forget := b.news.expect(name)
	defer forget()
	if err := register(); err != nil {
		return err
	}
	select {
	case <-announced:
	case <-ctx.Done():
	}
	return nil
}
