package daemon

import (
	"context"
	"math"
	"strconv"
	"sync"
	"time"
)

const idleTime = 30 * time.Second

// IdleTime is how long a daemon without work waits before it ends; 0 means that
// it does not end by itself. Only a daemon that the service manager starts
// again when somebody connects may end.
func IdleTime(activated bool, getenv func(string) string) time.Duration {
	if !activated {
		return 0
	}
	// The same variable and values as the stock daemons.
	switch value := getenv("SYSTEMD_EXIT_ON_IDLE"); value {
	case "no", "n", "off":
		return 0
	default:
		if on, err := strconv.ParseBool(value); err == nil && !on {
			return 0
		}
	}
	return idleTime
}

// Idle finds out that a daemon has had nothing to do for a while. Whatever is
// something to do holds it.
type Idle struct {
	after time.Duration

	mu      sync.Mutex
	holds   int
	changed chan struct{} // closed and replaced at each change
}

// NewIdle measures idle times of the given length; 0 never ends.
func NewIdle(after time.Duration) *Idle {
	return &Idle{after: after, changed: make(chan struct{})}
}

// Hold says that there is something to do until release is called.
func (i *Idle) Hold() (release func()) {
	if i.after == 0 {
		return func() {} // nobody has to be told
	}
	i.add(1)
	return sync.OnceFunc(func() { i.add(-1) })
}

func (i *Idle) add(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.holds += n
	close(i.changed)
	i.changed = make(chan struct{})
}

func (i *Idle) state() (busy bool, changed <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.holds > 0, i.changed
}

// Wait returns true after nobody has held for the whole time, and false when
// ctx ends first.
func (i *Idle) Wait(ctx context.Context) bool {
	if i.after == 0 {
		<-ctx.Done()
		return false
	}
	for {
		busy, changed := i.state()
		after := i.after
		if busy {
			after = math.MaxInt64
		}
		timer := time.NewTimer(after)
		select {
		case <-changed:
			timer.Stop()
		case <-timer.C:
			return true
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}
