package fetch

import (
	"fmt"
	"time"
)

const (
	// rateWindow is how much waiting tells the rate of a connection. It takes two of them in a row to call it slow.
	rateWindow = 30 * time.Millisecond
	// fastEnough is what one connection brings where others beside it would hardly help, in bytes per second: it fills
	// a link of 256 Mbit/s, and beyond that a decoder is what is slow.
	fastEnough = 32 << 20
)

// rate is what a connection brought of late, for the time that was spent waiting for it.
type rate struct {
	got    int64
	waited time.Duration
	slow   int // how many times in a row it was not fast enough
}

func (r *rate) add(n int, waited time.Duration) {
	if r.waited >= rateWindow {
		r.got, r.waited = 0, 0
	}
	r.got += int64(n)
	r.waited += waited
	if r.waited < rateWindow {
		return
	}
	if r.slow++; r.perSecond() >= fastEnough {
		r.slow = 0
	}
}

// enough is true as long as the connection is fast, or too little is known of it.
func (r rate) enough() bool { return r.slow < 2 }

// perSecond returns the rate in bytes per second.
func (r rate) perSecond() float64 { return float64(r.got) / max(r.waited, time.Millisecond).Seconds() }

func (r rate) String() string { return fmt.Sprintf("%.1f MiB/s", r.perSecond()/(1<<20)) }
