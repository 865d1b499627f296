package importd

import (
	"math"
	"sync"

	"berth/images"
)

// ProgressUnknown is the progress of a transfer that cannot tell; clients take
// any negative number for it.
const ProgressUnknown = -math.MaxFloat64

// Info is what can be seen of a transfer.
type Info struct {
	// ID is unique as long as the daemon runs, from 1 on.
	ID     uint32
	Kind   Kind
	Class  images.Class
	Local  string
	Remote string
	Verify Verify
	// Progress is between 0 and 1, or [ProgressUnknown].
	Progress float64
}

// Transfer is one job and the process that does it.
type Transfer struct {
	request Request
	id      uint32
	// worker is nil while the transfer waits for another. The manager's lock guards
	// it.
	worker *worker

	mu       sync.Mutex
	progress float64
	cancels  int

	done chan struct{}
	err  error // valid once done is closed
}

// ID returns the number of the transfer.
func (t *Transfer) ID() uint32 { return t.id }

// Info returns its state at this moment.
func (t *Transfer) Info() Info {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Info{
		ID: t.id, Kind: t.request.Kind, Class: t.request.Class, Local: t.localName(),
		Remote: t.request.Remote, Verify: t.request.Verify, Progress: t.progress,
	}
}

func (t *Transfer) localName() string {
	if t.request.Local == NoLocal {
		return ""
	}
	return t.request.Local
}

// Done is closed when the transfer is over and everything it made is in place
// or gone.
func (t *Transfer) Done() <-chan struct{} { return t.done }

// Err waits for the end and returns nil, [ErrCanceled], or why it failed.
func (t *Transfer) Err() error {
	<-t.done
	return t.err
}

func (t *Transfer) setProgress(p float64) {
	t.mu.Lock()
	t.progress = p
	t.mu.Unlock()
}

// cancel counts the requests to end the transfer.
func (t *Transfer) cancel() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancels++
	return t.cancels
}

func (t *Transfer) canceled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cancels > 0
}
