package compress

import "time"

// What pace aims at: so many bytes at once, and no more rest than that.
const (
	paceBytes  = 192 << 10
	paceLeast  = 100 * time.Microsecond
	paceLonger = 4 * time.Millisecond
)

// pace says how long to rest before reading from a program again. xz(1) writes 8
// KiB at a time, and whoever waits for each is woken ten thousand times a second,
// which costs up to a fifth of the decoding itself. During a rest the pipe fills; it
// holds what even zeros become in that time, as a rest after much is short. Where the
// kernel gives only a small pipe, there is much when that is a quarter full.
type pace struct {
	rest time.Duration
	aim  int // how many bytes there are to be at once
}

// newPace aims at what goes well with a pipe of size bytes.
func newPace(size int) pace { return pace{aim: min(paceBytes, size/4)} }

// after takes what one read gave and returns the rest before the next; full tells
// that there was as much as was asked for, and so probably is more.
func (p *pace) after(n int, full bool) time.Duration {
	switch {
	case n < p.aim/2:
		p.rest = min(max(2*p.rest, paceLeast), paceLonger)
	case n > p.aim:
		p.rest /= 2
	}
	if full {
		return 0
	}
	return p.rest
}
