package machined_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/machined"
	"berth/machined/units/unitstest"
)

// stuckUnits does not answer about the unit of one machine, like a service manager
// that has lost its way.
type stuckUnits struct {
	machined.Units
	asked  chan struct{} // gets a token for each question
	answer chan struct{} // closed when it answers again
}

func (s stuckUnits) wait(ctx context.Context, unit string) error {
	if !strings.Contains(unit, "stuck") {
		return nil
	}
	s.asked <- struct{}{}
	select {
	case <-s.answer:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Follow is part of machined.Units.
func (s stuckUnits) Follow(ctx context.Context, unit machined.Unit) (bool, error) {
	if err := s.wait(ctx, unit.Name); err != nil {
		return false, err
	}
	return s.Units.Follow(ctx, unit)
}

// Stop is part of machined.Units.
func (s stuckUnits) Stop(ctx context.Context, unit machined.Unit, grace time.Duration, first ...*machined.Process) error {
	if err := s.wait(ctx, unit.Name); err != nil {
		return err
	}
	return s.Units.Stop(ctx, unit, grace, first...)
}

// The service manager is asked about one machine at a time, and nobody waits for
// an answer that is about another.
func TestStuckUnitHoldsOneMachineOnly(t *testing.T) {
	fake, err := unitstest.NewFake()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fake.Close(); err != nil {
			t.Error(err)
		}
	})
	units := stuckUnits{fake, make(chan struct{}, 10), make(chan struct{})}
	w := newWorld(t, units, time.Hour)
	for _, name := range []string{"stuck1", "stuck2"} {
		leader := shell(t, obey)
		if err := fake.Join(name+".service", leader); err != nil {
			t.Fatal(err)
		}
		w.register(t, name, leader, machined.Caller{}, false)
		if name == "stuck1" {
			end(t, leader)
		} else if err := w.Terminate(t.Context(), name); err != nil {
			t.Error(err)
		}
		<-units.asked
	}
	// Whoever waited would wait for ever.
	leader := shell(t, obey)
	w.register(t, "free", leader, machined.Caller{}, true)
	if list := w.List(); len(list) != 3 {
		t.Errorf("listed are %v", list)
	}
	if _, err := w.Find("stuck1"); err != nil {
		t.Error(err)
	}
	if err := w.Kill(t.Context(), "free", machined.KillAll, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	next(t, w.events, removed("free"))
	if err := w.Unregister(t.Context(), "stuck2"); err != nil {
		t.Error(err)
	}
	next(t, w.events, removed("stuck2"))
	close(units.answer)
	next(t, w.events, removed("stuck1"))
	if _, err := w.Find("stuck1"); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Error(err)
	}
}
