package importd

import (
	"context"
	"sync"
)

// LogLine is a message of a transfer for the people who wait for it.
type LogLine struct {
	// Priority is a syslog level: 0 emergency to 7 debug.
	Priority int    `json:"priority"`
	Message  string `json:"message"`
}

// Syslog levels used by transfers.
const (
	PriorityError   = 3
	PriorityWarning = 4
	PriorityNotice  = 5
	PriorityInfo    = 6
)

// EventKind says what an [Event] is about.
type EventKind int

// The events of a transfer, in the order in which they come: one EventNew, any
// number of logs and progress, one EventRemoved.
const (
	EventNew EventKind = iota
	EventLog
	EventProgress
	EventRemoved
)

// Event is something that happened to a transfer.
type Event struct {
	Kind     EventKind
	Transfer Info
	Log      LogLine // of EventLog
	Err      error   // of EventRemoved: nil, ErrCanceled, or why it failed
}

// subscriptionDepth is how many events wait for a slow subscriber before the
// oldest logs and progress are forgotten. Ends are never forgotten.
const subscriptionDepth = 4096

// Subscription receives the events of all transfers from the moment it is made.
type Subscription struct {
	mu     sync.Mutex
	queue  []Event
	wake   chan struct{}
	cancel func()
}

// Next returns the oldest event not seen yet, or waits for one.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			e := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return e, nil
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Close ends the subscription.
func (s *Subscription) Close() { s.cancel() }

// publish never waits: a subscriber that does not read loses old log lines, not
// the transfer its time.
func (s *Subscription) publish(e Event) {
	s.mu.Lock()
	if last := len(s.queue) - 1; e.Kind == EventProgress && last >= 0 &&
		s.queue[last].Kind == EventProgress && s.queue[last].Transfer.ID == e.Transfer.ID {
		s.queue[last] = e
	} else {
		s.queue = append(s.queue, e)
	}
	if len(s.queue) > subscriptionDepth {
		s.forgetOldest()
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Subscription) forgetOldest() {
	for i, e := range s.queue {
		if e.Kind == EventLog || e.Kind == EventProgress {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			return
		}
	}
}
