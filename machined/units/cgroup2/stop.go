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
	if err := b.stop(ctx, dir, grace, first); err != nil {
		return fmt.Errorf("stop unit %s: %w", unit.Name, err)
	}
	return nil
}

// stop holds on to the group that it found: once that is empty another may be
// made in its place, which is none of its business.
func (b *Backend) stop(ctx context.Context, dir string, grace time.Duration, first []*machined.Process) error {
	g, err := b.find(dir)
	if g == nil || err != nil {
		return err
	}
	if grace > 0 {
		ended, err := b.ask(ctx, g, grace, first)
		if ended || err != nil {
			return err
		}
	}
	if err := b.kill(g); err != nil {
		return err
	}
	return b.waitEmpty(ctx, g)
}

// find returns the group of a directory, watched from now on, nil if there is no
// such cgroup.
func (b *Backend) find(dir string) (*group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.watchGroup(dir, filepath.Dir(dir) == b.slice)
	if gone(err) {
		return nil, nil
	}
	return g, err
}

// ask sends SIGTERM and reports whether the unit ended within grace.
func (b *Backend) ask(ctx context.Context, g *group, grace time.Duration, first []*machined.Process) (ended bool, err error) {
	var errs []error
	for _, p := range first {
		if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, machined.ErrNoSuchProcess) {
			errs = append(errs, err)
		}
	}
	if len(first) == 0 {
		_, err := b.tree.kill(g.dir, syscall.SIGTERM)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err = b.waitEmpty(graceful, g)
	if err != nil && ctx.Err() == nil && graceful.Err() != nil {
		return false, nil
	}
	return err == nil, err
}

func (b *Backend) kill(g *group) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.groups[g.dir] != g {
		return nil
	}
	_, err := b.tree.kill(g.dir, syscall.SIGKILL)
	return err
}

// waitEmpty waits until the cgroup has no processes. An empty one of our own is
// removed.
func (b *Backend) waitEmpty(ctx context.Context, g *group) error {
	for {
		changed, err := b.busy(g)
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

// busy returns a channel that is closed when the state of the cgroup changes,
// nil if it is empty or gone.
func (b *Backend) busy(g *group) (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.groups[g.dir] != g {
		return nil, nil
	}
	changed := g.changed
	busy, err := populated(g.dir)
	if busy || err != nil {
		return changed, err
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
