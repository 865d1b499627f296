package machined

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"berth/images/errand"
	"berth/machined/apart"
)

// look does something short in a process apart, which ends when ctx does or the
// Manager is closed.
func (m *Manager) look(ctx context.Context, name string, do func(context.Context, Machine, *Process) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.begin(); err != nil {
		return err
	}
	defer m.background.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(ErrClosed) })()
	return m.within(ctx, name, func(machine Machine, leader *Process) error {
		return explain(do(ctx, machine, leader))
	})
}

// apart is the machine as those processes know it.
func (m Machine) apart(leader *Process) apart.Machine {
	return apart.Machine{Target: leader.target(), User: m.UID}
}

// explain gives errors of processes apart the meaning that they have for callers.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EOVERFLOW):
		// What the kernel means when the host's root cannot make anything: the
		// filesystem was mounted in the machine's user namespace, which does not know
		// him.
		return fmt.Errorf("the filesystem belongs to the user namespace of the machine: %w: %w", ErrNotSupported, err)
	case errors.Is(err, apart.ErrNoRoot):
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	case errors.Is(err, apart.ErrBusy):
		return fmt.Errorf("%w: %w", ErrTooManyOperations, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errand.ErrStalled):
		return fmt.Errorf("%w: %w", unix.ETIMEDOUT, err)
	}
	return err
}
