package unitstest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/machined"
)

// Fake is a [machined.Units] that keeps its units in memory. The processes are
// real; a unit holds those that were put in and their living descendants, but
// not orphans of them.
type Fake struct {
	mu       sync.Mutex
	units    map[string]*unit
	watchers map[int]func(string)
	next     int
	wg       sync.WaitGroup
	stopR    *os.File // readable once the fake is closed
	stopW    *os.File
}

type unit struct {
	roots []*machined.Process
	empty chan struct{} // closed when the last root has ended
}

var _ machined.Units = (*Fake)(nil)

// NewFake returns a Fake without units.
func NewFake() (*Fake, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make stop pipe: %w", err)
	}
	return &Fake{units: map[string]*unit{}, watchers: map[int]func(string){}, stopR: r, stopW: w}, nil
}

// StartScope implements [machined.Units].
func (f *Fake) StartScope(ctx context.Context, scope machined.Scope) (machined.Unit, error) {
	if !scope.Leader.Alive() {
		return machined.Unit{}, fmt.Errorf("start unit %s: %w", scope.Unit, machined.ErrNoSuchProcess)
	}
	now, err := f.UnitOf(ctx, scope.Leader.PID)
	if err != nil || now.Name == scope.Unit {
		return now, err
	}
	if err := f.Stop(ctx, machined.Unit{Name: scope.Unit}, 0); err != nil {
		return machined.Unit{}, err
	}
	leader, err := scope.Leader.Dup()
	if err != nil {
		return machined.Unit{}, err
	}
	f.add(scope.Unit, leader)
	return machined.Unit{Name: scope.Unit}, nil
}

// StartService implements [machined.Units].
func (f *Fake) StartService(ctx context.Context, service machined.Service) (*machined.Process, error) {
	if err := f.Stop(ctx, machined.Unit{Name: service.Unit}, 0); err != nil {
		return nil, err
	}
	p, err := machined.StartProcess(service, syscall.SysProcAttr{})
	if err != nil {
		return nil, err
	}
	dup, err := p.Dup()
	if err != nil {
		return nil, err
	}
	f.add(service.Unit, dup)
	return p, nil
}

func (f *Fake) add(name string, p *machined.Process) {
	f.mu.Lock()
	u := &unit{roots: []*machined.Process{p}, empty: make(chan struct{})}
	f.units[name] = u
	f.mu.Unlock()
	f.wg.Go(func() {
		defer func() { _ = p.Close() }()
		if !f.waitEnd(p) {
			return
		}
		f.mu.Lock()
		delete(f.units, name)
		watchers := make([]func(string), 0, len(f.watchers))
		for _, w := range f.watchers {
			watchers = append(watchers, w)
		}
		close(u.empty)
		for _, w := range watchers {
			w(name)
		}
		f.mu.Unlock()
	})
}

// waitEnd returns false if the fake is closed first.
func (f *Fake) waitEnd(p *machined.Process) bool {
	fds := []unix.PollFd{
		{Fd: int32(p.PIDFD().Fd()), Events: unix.POLLIN},
		{Fd: int32(f.stopR.Fd()), Events: unix.POLLIN},
	}
	for {
		if _, err := unix.Poll(fds, -1); err == nil {
			return fds[0].Revents != 0
		}
	}
}

// Stop implements [machined.Units].
func (f *Fake) Stop(ctx context.Context, where machined.Unit, grace time.Duration, first ...*machined.Process) error {
	f.mu.Lock()
	u := f.units[where.Name]
	f.mu.Unlock()
	if u == nil {
		return nil
	}
	if grace > 0 {
		if len(first) == 0 {
			signalAll(members(u.roots), syscall.SIGTERM)
		}
		for _, p := range first {
			_ = p.Signal(syscall.SIGTERM) // it may have ended already
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-u.empty:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("stop unit %s: %w", where.Name, context.Cause(ctx))
		case <-timer.C:
		}
	}
	signalAll(members(u.roots), syscall.SIGKILL)
	select {
	case <-u.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop unit %s: %w", where.Name, context.Cause(ctx))
	}
}

// Kill implements [machined.Units].
func (f *Fake) Kill(_ context.Context, where machined.Unit, sig syscall.Signal) error {
	f.mu.Lock()
	u := f.units[where.Name]
	f.mu.Unlock()
	if u == nil || signalAll(members(u.roots), sig) == 0 {
		return fmt.Errorf("kill unit %s: %w", where.Name, machined.ErrNoSuchProcess)
	}
	return nil
}

// UnitOf implements [machined.Units].
func (f *Fake) UnitOf(_ context.Context, pid int) (machined.Unit, error) {
	if err := unix.Kill(pid, 0); err != nil {
		return machined.Unit{}, fmt.Errorf("find unit of process %d: %w", pid, machined.ErrNoSuchProcess)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, u := range f.units {
		if _, ok := members(u.roots)[pid]; ok {
			return machined.Unit{Name: name}, nil
		}
	}
	return machined.Unit{}, nil
}

// Watch implements [machined.Units].
func (f *Fake) Watch(w func(unit string)) (cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.next
	f.next++
	f.watchers[id] = w
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, id)
	}
}

// Close implements [machined.Units].
func (f *Fake) Close() error {
	err := f.stopW.Close()
	f.wg.Wait()
	if err := f.stopR.Close(); err != nil {
		return err
	}
	return err
}
