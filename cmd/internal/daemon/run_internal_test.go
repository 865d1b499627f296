package daemon

import (
	"context"
	"testing"
	"time"
)

// silent is a bus that never answers.
type silent struct{ tried chan struct{} }

func (silent) Run(context.Context) error { return nil }

func (s silent) Tried() <-chan struct{} { return s.tried }

// A bus that does not answer holds up no daemon for ever, nor the end of one.
func TestAwaitBus(t *testing.T) {
	b := silent{make(chan struct{})}
	if !awaitBus(t.Context(), b, time.Millisecond) {
		t.Error("a daemon with a silent bus is never ready")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if awaitBus(ended, b, time.Hour) {
		t.Error("a daemon that ends is ready")
	}
	close(b.tried)
	if !awaitBus(t.Context(), b, time.Hour) {
		t.Error("a daemon on the bus is not ready")
	}
}
