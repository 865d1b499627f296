package machined

import (
	"context"
	"fmt"
)

// maxOperations is how many operations may run at once, over all machines and
// images.
const maxOperations = 64

// operate runs a long job in the caller's goroutine. It ends early when ctx does
// or the Manager is closed; [ErrTooManyOperations] if it may not begin.
func (m *Manager) operate(ctx context.Context, what string, job func(context.Context) error) error {
	select {
	case m.operations <- struct{}{}:
		defer func() { <-m.operations }()
	default:
		return fmt.Errorf("%s: %w: %d are running", what, ErrTooManyOperations, maxOperations)
	}
	if err := m.begin(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer m.background.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(ErrClosed) })()
	if err := job(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// begin has Close wait for background.Done; [ErrClosed] if it is too late.
func (m *Manager) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.background.Add(1)
	return nil
}

// operateIn is operate for a job within a container, which ends when the
// container does. The job gets the leader, open while it runs.
func (m *Manager) operateIn(
	ctx context.Context, what, name string, job func(context.Context, Machine, *Process) error,
) error {
	return m.operate(ctx, what, func(ctx context.Context) error {
		return m.within(ctx, name, func(machine Machine, leader *Process) error {
			if machine.Class != ClassContainer {
				return fmt.Errorf("it is no container: %w", ErrNotSupported)
			}
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			unwatch, err := m.watch.add(leader, func() {
				cancel(fmt.Errorf("it has ended: %w", ErrNoSuchMachine))
			})
			if err != nil {
				return err
			}
			defer unwatch()
			err = job(ctx, machine, leader)
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		})
	})
}
