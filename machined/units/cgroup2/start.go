package cgroup2

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/machined"
	"berth/machined/units/unitpath"
)

// StartScope implements [machined.Units].
func (b *Backend) StartScope(ctx context.Context, scope machined.Scope) (machined.Unit, error) {
	unit := b.unit(scope.Unit)
	now, err := b.UnitOf(ctx, scope.Leader.PID)
	if err != nil {
		return machined.Unit{}, fmt.Errorf("start unit %s: %w", scope.Unit, err)
	}
	if now.Cgroup == unit.Cgroup {
		return now, nil
	}
	err = b.begin(ctx, scope.Unit, func(dir string) error { return move(dir, scope.Leader) })
	if err != nil {
		return machined.Unit{}, fmt.Errorf("start unit %s: %w", scope.Unit, err)
	}
	return unit, nil
}

// StartService implements [machined.Units]: the process is in the cgroup from
// its first instruction on.
func (b *Backend) StartService(ctx context.Context, service machined.Service) (*machined.Process, error) {
	var p *machined.Process
	err := b.begin(ctx, service.Unit, func(dir string) (err error) {
		fd, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, fd.Close()) }()
		p, err = machined.StartProcess(service, syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start unit %s: %w", service.Unit, err)
	}
	return p, nil
}

// begin makes the cgroup of a unit, free of leftovers, and calls fill to put
// something in. Whatever came in or not, an empty cgroup is removed afterwards.
func (b *Backend) begin(ctx context.Context, name string, fill func(dir string) error) error {
	if name == "" || strings.Contains(name, "/") || !unitpath.IsUnit(name) {
		return fmt.Errorf("%w: %q is no name of a unit", machined.ErrInvalidArgument, name)
	}
	dir := filepath.Join(b.slice, name)
	if err := b.Stop(ctx, b.unit(name), 0); err != nil {
		return err
	}
	g, err := b.makeWatched(dir)
	if err != nil {
		return err
	}
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		g.making--
		b.check(g)
	}()
	return fill(dir)
}

func (b *Backend) makeWatched(dir string) (*group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := errors.Join(makeGroup(b.slice), makeGroup(dir)); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	g, err := b.watchGroup(dir, true)
	if err != nil {
		return nil, errors.Join(err, removeTree(dir))
	}
	g.making++
	return g, nil
}
