package daemon_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"berth/cmd/internal/daemon"
)

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := daemon.NewIdle(30 * time.Second)
		start := time.Now()
		first, second := idle.Hold(), idle.Hold()
		go func() {
			time.Sleep(time.Minute)
			first()
			first() // counts once
			time.Sleep(time.Minute)
			second()
			time.Sleep(20 * time.Second)
			idle.Hold()()
		}()
		if !idle.Wait(t.Context()) {
			t.Error("ended by its context")
		}
		if got := time.Since(start); got != 2*time.Minute+50*time.Second {
			t.Errorf("idle after %v", got)
		}
	})
}

func TestIdleEndsWithItsContext(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			idle := daemon.NewIdle(after)
			defer idle.Hold()()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if idle.Wait(ctx) {
				t.Error("idle while it is held")
			}
		})
	}
}

func TestIdleTime(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 30 * time.Second, "1": 30 * time.Second, "0": 0, "no": 0, "false": 0, "off": 0, "nonsense": 30 * time.Second,
	} {
		getenv := func(string) string { return value }
		if got := daemon.IdleTime(true, getenv); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
		if got := daemon.IdleTime(false, getenv); got != 0 {
			t.Errorf("%q, not activated: %v", value, got)
		}
	}
}
