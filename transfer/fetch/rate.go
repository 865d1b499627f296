package fetch

import (
	"fmt"
	"time"
)

const (
	// rateWindow is how much waiting tells the rate of a connection.
	rateWindow = 50 * time.Millisecond
	// fastEnough is what one connection brings where others beside it would hardly help, in bytes per second: it fills
	// a link of 256 Mbit/s, and below a server's loopback or a fast local network a decoder is what is slow.
	fastEnough = 32 << 20
)

// rate is what a connection brought of late, for the time that was spent waiting for it.
type rate struct {
	got    int64
	waited time.Duration
}

func (r *rate) add(n int, waited time.Duration) {
	if r.waited >= rateWindow {
		*r = rate{}
	}
	r.got += int64(n)
	r.waited += waited
}

// enough is true as long as the connection is fast, or nothing is known of it.
func (r rate) enough() bool {
	return r.waited < rateWindow || float64(r.got) >= fastEnough*r.waited.Seconds()
}

func (r rate) String() string {
	return fmt.Sprintf("%.1f MiB/s", float64(r.got)/max(r.waited, time.Nanosecond).Seconds()/(1<<20))
}
