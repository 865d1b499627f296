package unitstest

import (
	"context"
	"fmt"
	"os"
	"slices"
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
	told  bool          // watchers are told of its end
	empty chan struct{} // closed when the last root has ended
}

var _ machined.Units = (*Fake)(nil)

func where(name string) machined.Unit { return machined.Unit{Name: name, Cgroup: "/" + name} }

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
	f.join(scope.Unit, leader, true)
	return where(scope.Unit), nil
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
	f.join(service.Unit, dup, true)
	return p, nil
}

// Join puts a process into a unit, one that was not made by StartScope or
// StartService if there is none of that name.
func (f *Fake) Join(name string, p *machined.Process) error {
	dup, err := p.Dup()
	if err != nil {
		return err
	}
	f.join(name, dup, false)
	return nil
}

// join takes p over.
func (f *Fake) join(name string, p *machined.Process, told bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.units[name]
	if u == nil {
		u = &unit{told: told, empty: make(chan struct{})}
		f.units[name] = u
	}
	u.roots = append(u.roots, p)
	f.wg.Go(func() {
		if f.waitEnd(p) {
			f.left(name, u)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		u.roots = slices.DeleteFunc(u.roots, func(root *machined.Process) bool { return root == p })
		_ = p.Close()
	})
}

// left looks whether all roots of a unit have ended.
func (f *Fake) left(name string, u *unit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units[name] != u || slices.ContainsFunc(u.roots, (*machined.Process).Alive) {
		return
	}
	delete(f.units, name)
	close(u.empty)
	if !u.told {
		return
	}
	for _, w := range f.watchers {
		w(name)
	}
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
func (f *Fake) Stop(ctx context.Context, in machined.Unit, grace time.Duration, first ...*machined.Process) error {
	f.mu.Lock()
	u := f.units[in.Name]
	f.mu.Unlock()
	if u == nil {
		return nil
	}
	if grace > 0 {
		if len(first) == 0 {
			f.signal(u, syscall.SIGTERM)
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
			return fmt.Errorf("stop unit %s: %w", in.Name, context.Cause(ctx))
		case <-timer.C:
		}
	}
	f.signal(u, syscall.SIGKILL)
	select {
	case <-u.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop unit %s: %w", in.Name, context.Cause(ctx))
	}
}

// Kill implements [machined.Units].
func (f *Fake) Kill(_ context.Context, in machined.Unit, sig syscall.Signal) error {
	f.mu.Lock()
	u := f.units[in.Name]
	f.mu.Unlock()
	if u == nil || f.signal(u, sig) == 0 {
		return fmt.Errorf("kill unit %s: %w", in.Name, machined.ErrNoSuchProcess)
	}
	return nil
}

func (f *Fake) signal(u *unit, sig syscall.Signal) (sent int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return signalAll(members(u.roots), sig)
}

// UnitOf implements [machined.Units].
func (f *Fake) UnitOf(_ context.Context, pid int) (machined.Unit, error) {
	if err := unix.Kill(pid, 0); err != nil {
		return machined.Unit{}, fmt.Errorf("find unit of process %d: %w", pid, machined.ErrNoSuchProcess)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for ; pid > 1; pid = parent(pid) {
		for name, u := range f.units {
			if slices.ContainsFunc(u.roots, func(p *machined.Process) bool { return p.PID == pid && p.Alive() }) {
				return where(name), nil
			}
		}
	}
	return machined.Unit{}, nil
}

// Follow implements [machined.Units].
func (f *Fake) Follow(_ context.Context, in machined.Unit) (active bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.units[in.Name]
	if u == nil || !slices.ContainsFunc(u.roots, (*machined.Process).Alive) {
		return false, nil
	}
	u.told = true
	return true, nil
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
