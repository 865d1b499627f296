package apart

import (
	"context"
	"errors"
	"testing"

	"berth/machined/nsenter"
)

func machineOf(pid int, user uint32) Machine {
	return Machine{Target: nsenter.Target{PID: pid}, User: user}
}

func TestGateLimits(t *testing.T) {
	g := newGate(limits{machine: 2, user: 3, all: 6})
	enter := func(pid int, user uint32, want error) (leave func()) {
		t.Helper()
		leave, err := g.tryEnter(machineOf(pid, user))
		if !errors.Is(err, want) {
			t.Errorf("process %d of user %d: %v, want %v", pid, user, err, want)
		}
		return leave
	}
	first := enter(10, 1000, nil)
	enter(10, 1000, nil)
	enter(10, 1000, ErrBusy) // of the machine
	enter(11, 1000, nil)
	enter(12, 1000, ErrBusy) // of the user
	enter(20, 0, nil)
	enter(20, 0, nil)
	enter(21, 0, nil)
	enter(30, 1001, ErrBusy) // in all
	first()
	enter(30, 1001, nil)
	enter(31, 0, ErrBusy)
}

// Root has many machines, one of which may be hostile.
func TestGateOfRoot(t *testing.T) {
	g := newGate(limits{machine: 1, user: 1, all: 3})
	for pid := range 3 {
		if _, err := g.tryEnter(machineOf(10+pid, 0)); err != nil {
			t.Error(err)
		}
	}
}

func TestGateWaits(t *testing.T) {
	g := newGate(limits{machine: 1, user: 1, all: 1})
	leave, err := g.enter(t.Context(), machineOf(10, 0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("waited long enough")
	cancel(over)
	if _, err := g.enter(ctx, machineOf(11, 0)); !errors.Is(err, over) || !errors.Is(err, ErrBusy) {
		t.Errorf("full: %v", err)
	}
	entered := make(chan error)
	go func() {
		leave, err := g.enter(t.Context(), machineOf(11, 0))
		if err == nil {
			leave()
		}
		entered <- err
	}()
	leave()
	if err := <-entered; err != nil || !g.idle() || len(g.machines)+len(g.users) != 0 {
		t.Errorf("%v, left are %v, %v", err, g.machines, g.users)
	}
}
