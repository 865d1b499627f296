package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"berth/machined"
)

// Stop implements [machined.Units].
func (b *Backend) Stop(ctx context.Context, unit machined.Unit, grace time.Duration, first ...*machined.Process) error {
	if err := b.stop(ctx, unit.Name, grace, first); err != nil {
		return fmt.Errorf("stop unit %s: %w", unit.Name, err)
	}
	return nil
}

func (b *Backend) stop(ctx context.Context, name string, grace time.Duration, first []*machined.Process) error {
	if err := checkName(name); err != nil {
		return err
	}
	u, err := b.track(ctx, name, false)
	if u == nil || err != nil {
		return err
	}
	switch {
	case grace > 0 && isService(name):
		// Its own settings say how it is asked, how long it may take, and that it is
		// not started again.
		if err := b.stopUnit(ctx, name); err != nil {
			return err
		}
	case grace > 0:
		ended, err := b.ask(ctx, u, grace, first)
		if ended || err != nil {
			return err
		}
		fallthrough
	default:
		if err := b.killLocked(ctx, u); err != nil {
			return err
		}
	}
	return wait(ctx, u.ended)
}

func isService(name string) bool { return strings.HasSuffix(name, ".service") }

// ask sends SIGTERM and reports whether the unit ended within grace.
func (b *Backend) ask(ctx context.Context, u *unit, grace time.Duration, first []*machined.Process) (ended bool, err error) {
	var errs []error
	for _, p := range first {
		if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, machined.ErrNoSuchProcess) {
			errs = append(errs, err)
		}
	}
	if len(first) == 0 {
		errs = append(errs, b.signal(ctx, u.name, syscall.SIGTERM))
	}
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-u.ended:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// signal reaches all processes of a unit; there may be none.
func (b *Backend) signal(ctx context.Context, name string, sig syscall.Signal) error {
	err := b.call(ctx, "KillUnit", name, "all", int32(sig)).Err
	if hasName(err, noSuchUnit, noSuchProcess) {
		return nil
	}
	return err
}

// killLocked kills a unit if it has not ended, and not the next of that name.
func (b *Backend) killLocked(ctx context.Context, u *unit) error {
	unlock, err := b.names.lock(ctx, u.name)
	if err != nil {
		return err
	}
	defer unlock()
	return b.kill(ctx, u)
}

// kill is called with the name locked.
func (b *Backend) kill(ctx context.Context, u *unit) error {
	select {
	case <-u.ended:
		return nil
	default:
	}
	// A service must not be started again because it was killed; a scope with
	// nothing but a zombie in it does not end by itself.
	steps := []func() error{
		func() error { return b.stopUnit(ctx, u.name) },
		func() error { return b.signal(ctx, u.name, syscall.SIGKILL) },
	}
	if !isService(u.name) {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// stopUnit begins to stop a unit the way it says itself.
func (b *Backend) stopUnit(ctx context.Context, name string) error {
	err := b.call(ctx, "StopUnit", name, "replace").Err
	if hasName(err, noSuchUnit) {
		return nil
	}
	return err
}

// Kill implements [machined.Units].
func (b *Backend) Kill(ctx context.Context, unit machined.Unit, sig syscall.Signal) error {
	if err := b.killUnit(ctx, unit, sig); err != nil {
		return fmt.Errorf("kill unit %s: %w", unit.Name, err)
	}
	return nil
}

func (b *Backend) killUnit(ctx context.Context, unit machined.Unit, sig syscall.Signal) error {
	if err := checkName(unit.Name); err != nil {
		return err
	}
	var err error
	if unit.Subgroup != "" {
		err = b.call(ctx, "KillUnitSubgroup", unit.Name, "cgroup", unit.Subgroup, int32(sig)).Err
	}
	if unit.Subgroup == "" || hasName(err, unknownMethod) {
		// Before release 258 the whole unit is as near as one gets.
		err = b.call(ctx, "KillUnit", unit.Name, "all", int32(sig)).Err
	}
	if hasName(err, noSuchUnit, noSuchProcess) {
		return machined.ErrNoSuchProcess
	}
	return err
}
