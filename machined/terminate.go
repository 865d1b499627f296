package machined

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// KillWhom says which processes of a machine get a signal.
type KillWhom string

// Whom a signal goes to.
const (
	KillLeader     KillWhom = "leader"
	KillSupervisor KillWhom = "supervisor"
	KillAll        KillWhom = "all"
)

// ParseKillWhom returns the value of that name; empty means all.
func ParseKillWhom(s string) (KillWhom, error) {
	switch whom := KillWhom(s); whom {
	case "":
		return KillAll, nil
	case KillLeader, KillSupervisor, KillAll:
		return whom, nil
	}
	return "", fmt.Errorf("%w: cannot kill %q", ErrInvalidArgument, s)
}

// Unregister forgets a machine and leaves its processes alone.
func (m *Manager) Unregister(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.findEntry(ctx, name)
	if err != nil {
		return fmt.Errorf("unregister: %w", err)
	}
	m.finalize(e)
	return nil
}

// findEntry is called with the lock held. ".host" is [ErrNotSupported].
func (m *Manager) findEntry(ctx context.Context, name string) (*entry, error) {
	if name == HostName && m.config.Host {
		return nil, fmt.Errorf("machine %q: %w", name, ErrNotSupported)
	}
	e, err := m.table.find(name)
	if err != nil {
		return nil, err
	}
	return e, checkPin(ctx, e.Machine)
}

// Kill sends a signal to processes of a machine. [ErrNoSuchProcess] if there is
// no such process, for instance no supervisor.
func (m *Manager) Kill(ctx context.Context, name string, whom KillWhom, sig syscall.Signal) (err error) {
	if err := validSignal(sig); err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	h, err := m.hold(ctx, name)
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := m.signal(ctx, h, whom, sig); err != nil {
		return fmt.Errorf("kill %s of machine %s: %w", whom, name, err)
	}
	return nil
}

func (m *Manager) signal(ctx context.Context, h *held, whom KillWhom, sig syscall.Signal) error {
	switch whom {
	case KillLeader:
		if h.lingers { // a zombie takes signals
			return ErrNoSuchProcess
		}
		return h.leader.Signal(sig)
	case KillSupervisor:
		if h.supervisor == nil {
			return ErrNoSuchProcess
		}
		return h.supervisor.Signal(sig)
	case KillAll:
		if h.Unit != "" && (h.Subgroup != "" || h.ownsWholeUnit()) {
			return m.units.Kill(ctx, h.unit(), sig)
		}
		err := h.leader.Signal(sig)
		if h.supervised && h.supervisor != nil {
			err = errors.Join(err, ignoreEnded(h.supervisor.Signal(sig)))
		}
		return err
	}
	return fmt.Errorf("%w: cannot kill %q", ErrInvalidArgument, whom)
}

func ignoreEnded(err error) error {
	if errors.Is(err, ErrNoSuchProcess) {
		return nil
	}
	return err
}

// held is a machine with handles of its own, for use without the lock.
type held struct {
	Machine
	leader     *Process
	supervisor *Process // nil: none
}

func (h *held) close() error {
	err := h.leader.Close()
	if h.supervisor != nil {
		err = errors.Join(err, h.supervisor.Close())
	}
	return err
}

func (m *Manager) hold(ctx context.Context, name string) (*held, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.findEntry(ctx, name)
	if err != nil {
		return nil, err
	}
	return m.holdEntry(e)
}

// holdEntry is called with the lock held.
func (m *Manager) holdEntry(e *entry) (*held, error) {
	e.shared = m.table.neighbours(e)

	leader, err := e.leader.Dup()
	if err != nil {
		return nil, err
	}
	h := &held{Machine: e.clone(), leader: leader}
	if e.supervisor != nil {
		if h.supervisor, err = e.supervisor.Dup(); err != nil {
			return nil, errors.Join(err, leader.Close())
		}
	}
	return h, nil
}

// Terminate ends a machine without shutting it down cleanly: its supervisor, or
// else its leader, gets SIGTERM, and after the configured grace what is left is
// killed. It returns at once; one call is enough. [ErrNotSupported] for ".host".
func (m *Manager) Terminate(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.runs[name]
	if r != nil {
		r.stop()
	}
	e, err := m.findEntry(ctx, name)
	if err != nil {
		if r != nil && r.isBooting() {
			return nil // its start fails, or it comes up stopped
		}
		return fmt.Errorf("terminate: %w", err)
	}
	if e.stopping {
		return nil
	}
	if m.closed {
		return fmt.Errorf("terminate machine %s: %w", name, ErrClosed)
	}
	h, err := m.holdEntry(e)
	if err != nil {
		return fmt.Errorf("terminate machine %s: %w", name, err)
	}
	if h.lingers && !h.mayStopUnit() {
		m.finalize(e) // there is nothing else of it
		return h.close()
	}
	e.stopping = true
	e.State = StateClosing
	m.background.Go(func() { m.end(e, h) })
	return nil
}

func (m *Manager) end(e *entry, h *held) {
	err := m.stop(m.ctx, h)
	if m.ctx.Err() != nil {
		// Nobody will be there when the grace is over.
		err = m.killNow(context.WithoutCancel(m.ctx), h)
	}
	if err = errors.Join(err, h.close()); err != nil {
		m.log.Error("machine is not terminated", "machine", h.Name, "error", err)
		m.mu.Lock()
		e.stopping = false // so that another call tries again
		m.mu.Unlock()
	}
}

// killNow ends a machine without grace.
func (m *Manager) killNow(ctx context.Context, h *held) error {
	if h.mayStopUnit() {
		return m.units.Stop(ctx, h.unit(), 0)
	}
	return ignoreEnded(h.leader.Signal(syscall.SIGKILL))
}

func (m *Manager) stop(ctx context.Context, h *held) error {
	first := h.leader
	if h.supervised && h.supervisor != nil && h.supervisor.Alive() {
		first = h.supervisor
	}
	if h.mayStopUnit() {
		var ask []*Process // everybody, if nobody is left who would tell the others
		if first.Alive() {
			ask = append(ask, first)
		}
		return m.units.Stop(ctx, h.unit(), m.config.StopGrace, ask...)
	}
	// The unit, if any, holds more than the machine.
	if err := ignoreEnded(first.Signal(syscall.SIGTERM)); err != nil {
		return err
	}
	ended, err := m.watch.wait(ctx, h.leader, m.config.StopGrace)
	if ended || err != nil {
		return err
	}
	if h.Subgroup != "" {
		err = ignoreEnded(m.units.Kill(ctx, h.unit(), syscall.SIGKILL))
	}
	return errors.Join(err, ignoreEnded(h.leader.Signal(syscall.SIGKILL)))
}

// wait waits until the process has ended or the time is over.
func (w *processWatch) wait(ctx context.Context, p *Process, limit time.Duration) (ended bool, err error) {
	over := make(chan struct{})
	cancel, err := w.add(p, func() { close(over) })
	if err != nil {
		return false, err
	}
	defer cancel()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-over:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
