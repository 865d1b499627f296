package systemd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/machined"
)

const (
	// maxTries is how often a scope is started whose start was interrupted.
	maxTries = 5
	// evictLimit is how long the service manager may take to forget a unit that
	// has ended.
	evictLimit = 5 * time.Second
)

// StartScope implements [machined.Units].
func (b *Backend) StartScope(ctx context.Context, scope machined.Scope) (machined.Unit, error) {
	unit, err := b.startScope(ctx, scope)
	if err != nil {
		return machined.Unit{}, fmt.Errorf("start unit %s: %w", scope.Unit, err)
	}
	return unit, nil
}

func (b *Backend) startScope(ctx context.Context, scope machined.Scope) (machined.Unit, error) {
	if err := checkName(scope.Unit); err != nil {
		return machined.Unit{}, err
	}
	extra, err := given(scope.Properties)
	if err != nil {
		return machined.Unit{}, err
	}
	unlock, err := b.names.lock(ctx, scope.Unit)
	if err != nil {
		return machined.Unit{}, err
	}
	defer unlock()
	started := false
	for range maxTries {
		// Also the answer to what became of an interrupted try.
		unit, err := b.UnitOf(ctx, scope.Leader.PID)
		if err == nil && !scope.Leader.Alive() {
			err = machined.ErrNoSuchProcess
		}
		if err != nil {
			if started { // around a process that ended: empty, and it would stay
				err = errors.Join(err, b.evict(ctx, scope.Unit))
			}
			return machined.Unit{}, err
		}
		if unit.Name == scope.Unit {
			_, err := b.track(ctx, scope.Unit, true)
			return unit, err
		}
		started = true
		if err := b.startAround(ctx, scope, extra); err != nil && !unclear(err) {
			return machined.Unit{}, err
		}
	}
	return machined.Unit{}, fmt.Errorf("%w: the process is not in the unit", machined.ErrJobFailed)
}

// startTransient makes a unit in place of an earlier one of that name.
func (b *Backend) startTransient(ctx context.Context, name string, p properties) error {
	start := func() error {
		return b.bring(ctx, name, "StartTransientUnit", name, "fail", p, []auxiliary{})
	}
	err := start()
	if !hasName(err, unitExists) {
		return err
	}
	if err := b.evict(ctx, name); err != nil {
		return err
	}
	return start()
}

// startAround makes a scope around a process.
func (b *Backend) startAround(ctx context.Context, scope machined.Scope, extra properties) error {
	byPID := b.byPID.Load()
	err := b.startTransient(ctx, scope.Unit, scopeProperties(scope, extra, byPID))
	if byPID || !hasName(err, unknownProp, readOnlyProp) {
		return err
	}
	// It may also be one of the caller's that is not known.
	if err = b.startTransient(ctx, scope.Unit, scopeProperties(scope, extra, true)); err == nil {
		b.byPID.Store(true)
	}
	return err
}

// evict kills what is left of an earlier unit and waits until the name is free.
// The name must be locked.
func (b *Backend) evict(ctx context.Context, name string) error {
	u, err := b.track(ctx, name, false)
	if u == nil || err != nil {
		return err
	}
	if err := b.kill(ctx, u); err != nil {
		return err
	}
	if err := wait(ctx, u.ended); err != nil {
		return err
	}
	// One that failed may be kept for somebody to look at.
	if err := b.call(ctx, "ResetFailedUnit", name).Err; err != nil && !hasName(err, noSuchUnit) {
		return fmt.Errorf("forget earlier unit: %w", err)
	}
	limited, cancel := context.WithTimeoutCause(ctx, evictLimit, fmt.Errorf("earlier unit does not go away: %w", machined.ErrJobFailed))
	defer cancel()
	return wait(limited, u.removed)
}

// wait waits until c is closed.
func wait(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
