package cgroup2

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"berth/machined"
)

// Stop implements [machined.Units].
func (b *Backend) Stop(ctx context.Context, unit machined.Unit, grace time.Duration, first ...*machined.Process) error {
	dir, err := b.dirOf(unit)
	if err != nil {
		return err
	}
	if grace > 0 {
		ended, err := b.ask(ctx, dir, grace, first)
		if err != nil || ended {
			return wrapStop(unit, err)
		}
	}
	if _, err := b.tree.kill(dir, syscall.SIGKILL); err != nil {
		return wrapStop(unit, err)
	}
	return wrapStop(unit, b.waitEmpty(ctx, dir))
}

func wrapStop(unit machined.Unit, err error) error {
	if err != nil {
		return fmt.Errorf("stop unit %s: %w", unit.Name, err)
	}
	return nil
}

// ask sends SIGTERM and reports whether the unit ended within grace.
func (b *Backend) ask(ctx context.Context, dir string, grace time.Duration, first []*machined.Process) (ended bool, err error) {
	var errs []error
	for _, p := range first {
		if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, machined.ErrNoSuchProcess) {
			errs = append(errs, err)
		}
	}
	if len(first) == 0 {
		_, err := b.tree.kill(dir, syscall.SIGTERM)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err = b.waitEmpty(graceful, dir)
	if err != nil && ctx.Err() == nil && graceful.Err() != nil {
		return false, nil
	}
	return err == nil, err
}

// waitEmpty waits until the cgroup has no processes.
func (b *Backend) waitEmpty(ctx context.Context, dir string) error {
	for {
		changed, err := b.watchBusy(dir)
		if err != nil || changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watchBusy returns a channel that is closed when the state of the cgroup
// changes, nil if it is empty or gone. An empty one of our own is removed.
func (b *Backend) watchBusy(dir string) (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.watchGroup(dir, filepath.Dir(dir) == b.slice)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	changed := g.changed
	busy, err := populated(dir)
	if err != nil {
		return nil, err
	}
	if busy {
		return changed, nil
	}
	b.check(g)
	return nil, nil
}

// Kill implements [machined.Units].
func (b *Backend) Kill(_ context.Context, unit machined.Unit, sig syscall.Signal) error {
	dir, err := b.dirOf(unit)
	if err != nil {
		return err
	}
	sent, err := b.tree.kill(filepath.Join(dir, filepath.Clean("/"+unit.Subgroup)), sig)
	if err == nil && sent == 0 {
		err = machined.ErrNoSuchProcess
	}
	if err != nil {
		return fmt.Errorf("kill unit %s: %w", unit.Name, err)
	}
	return nil
}
