package machined

import "sync"

// EventKind says what happened.
type EventKind string

// What subscribers are told.
const (
	EventNew     EventKind = "new"
	EventRemoved EventKind = "removed"
	// EventLost takes the place of events that a subscriber was too slow for: it
	// has to list the machines again.
	EventLost EventKind = "lost"
)

// Event is a change of the table of machines.
type Event struct {
	Kind EventKind
	Name string // empty in EventLost
}

// maxPending is how many events may wait for one subscriber.
const maxPending = 4096

// broadcaster hands events to subscribers, in order and without ever waiting
// for one of them.
type broadcaster struct {
	mu     sync.Mutex
	closed bool
	subs   map[*subscriber]struct{}
	wg     sync.WaitGroup
}

type subscriber struct {
	mu      sync.Mutex
	pending []Event
	wake    chan struct{} // holds one token while something may be pending
	done    chan struct{}
	stop    sync.Once
}

// subscribe calls f for every event from now on, on a goroutine of its own.
// cancel returns at once, so that f may call it; one call of f may still be
// under way then.
func (b *broadcaster) subscribe(f func(Event)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &subscriber{wake: make(chan struct{}, 1), done: make(chan struct{})}
	if b.closed {
		return func() {}
	}
	if b.subs == nil {
		b.subs = map[*subscriber]struct{}{}
	}
	b.subs[s] = struct{}{}
	b.wg.Go(func() { s.run(f) })
	return func() {
		b.mu.Lock()
		delete(b.subs, s)
		b.mu.Unlock()
		s.take()
		s.end()
	}
}

func (b *broadcaster) publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		s.push(e)
	}
}

// close delivers what is pending and ends all subscriptions.
func (b *broadcaster) close() {
	b.mu.Lock()
	b.closed = true
	for s := range b.subs {
		s.end()
	}
	b.subs = nil
	b.mu.Unlock()
	b.wg.Wait()
}

func (s *subscriber) end() { s.stop.Do(func() { close(s.done) }) }

func (s *subscriber) push(e Event) {
	s.mu.Lock()
	if len(s.pending) >= maxPending {
		s.pending = append(s.pending[:0], Event{Kind: EventLost})
	}
	s.pending = append(s.pending, e)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) take() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.pending
	s.pending = nil
	return events
}

func (s *subscriber) run(f func(Event)) {
	for {
		ended := false
		select {
		case <-s.wake:
		case <-s.done:
			ended = true
		}
		for _, e := range s.take() {
			f(e)
		}
		if ended {
			return
		}
	}
}
