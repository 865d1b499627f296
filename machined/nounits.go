package machined

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// noUnits stands in where processes cannot be grouped: nothing has a unit, and
// only the processes that are given can be ended.
type noUnits struct{ watch *processWatch }

var _ Units = noUnits{}

// StartScope makes nothing.
func (noUnits) StartScope(context.Context, Scope) (Unit, error) { return Unit{}, nil }

// StartService starts the process where this one is.
func (noUnits) StartService(_ context.Context, service Service) (*Process, error) {
	return StartProcess(service, syscall.SysProcAttr{})
}

// Stop ends the given processes themselves.
func (n noUnits) Stop(ctx context.Context, _ Unit, grace time.Duration, first ...*Process) error {
	var errs []error
	for _, p := range first {
		errs = append(errs, n.end(ctx, p, grace))
	}
	return errors.Join(errs...)
}

func (n noUnits) end(ctx context.Context, p *Process, grace time.Duration) error {
	if grace > 0 {
		if err := ignoreEnded(p.Signal(syscall.SIGTERM)); err != nil {
			return err
		}
		if ended, err := n.watch.wait(ctx, p, grace); ended || err != nil {
			return err
		}
	}
	return ignoreEnded(p.Signal(syscall.SIGKILL))
}

// Kill knows of no processes.
func (noUnits) Kill(_ context.Context, unit Unit, _ syscall.Signal) error {
	return fmt.Errorf("kill unit %q: %w", unit.Name, ErrNoSuchProcess)
}

// UnitOf is none.
func (noUnits) UnitOf(context.Context, int) (Unit, error) { return Unit{}, nil }

// Follow knows of no processes.
func (noUnits) Follow(context.Context, Unit) (active bool, err error) { return false, nil }

// Watch has nothing to tell.
func (noUnits) Watch(func(unit string)) (cancel func()) { return func() {} }

// Close has nothing to close.
func (noUnits) Close() error { return nil }
