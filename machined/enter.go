package machined

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/machined/nsenter"
)

// enter calls f with the machine of that name and its leader, or this process
// in place of the host's. Virtual machines have no inside that the host's
// kernel knows of: [ErrNotSupported].
func (m *Manager) enter(ctx context.Context, name string, f func(Machine, nsenter.Target) error) error {
	return m.within(ctx, name, func(machine Machine, leader *Process) error {
		return f(machine, leader.target())
	})
}

// HasInside refuses machines that the host cannot look into: [ErrNotSupported].
func (m Machine) HasInside() error {
	if m.Class == ClassVM {
		return fmt.Errorf("look into virtual machine %s: %w", m.Name, ErrNotSupported)
	}
	return nil
}

// within is enter for those who need more of the leader than its namespaces.
func (m *Manager) within(ctx context.Context, name string, f func(Machine, *Process) error) (err error) {
	machine, leader, err := m.inside(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leader.Close()) }()
	if err := machine.HasInside(); err != nil {
		return err
	}
	err = f(machine, leader)
	if errors.Is(err, nsenter.ErrGone) {
		err = fmt.Errorf("%w: %w", ErrNoSuchMachine, err)
	}
	if errors.Is(err, nsenter.ErrNoUserNamespace) || errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		err = fmt.Errorf("%w by the daemon of a user: %w", ErrNotSupported, err)
	}
	if err != nil {
		return fmt.Errorf("machine %s: %w", name, err)
	}
	return nil
}

func (p *Process) target() nsenter.Target { return nsenter.Target{PID: p.PID, PIDFD: p.PIDFD()} }

// inside returns the machine and a handle of the process that is looked into;
// [ErrNoSuchProcess] where only a unit is left.
func (m *Manager) inside(ctx context.Context, name string) (Machine, *Process, error) {
	if name == HostName && m.config.Host {
		self, err := OpenProcess(os.Getpid())
		return m.host.clone(), self, err
	}
	h, err := m.hold(ctx, name)
	if err != nil {
		return Machine{}, nil, err
	}
	if h.supervisor != nil {
		err = h.supervisor.Close()
	}
	if h.lingers {
		return Machine{}, nil, errors.Join(fmt.Errorf("look into machine %s: its leader has ended: %w", name, ErrNoSuchProcess),
			err, h.leader.Close())
	}
	return h.Machine, h.leader, err
}
