package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/godbus/dbus/v5"

	"berth/machined"
)

// errorName is the name that an error has on the bus, "" if it has none.
func errorName(err error) string {
	if e, ok := errors.AsType[dbus.Error](err); ok {
		return e.Name
	}
	return ""
}

func hasName(err error, names ...string) bool {
	return err != nil && slices.Contains(names, errorName(err))
}

// undelivered reports whether a call did not get to the service manager, so that
// it may be made again.
func undelivered(err error) bool { return hasName(err, serviceUnknown, noOwner) }

// unclear reports whether nobody knows what became of a call: the other side, or
// the bus, went away before there was an answer.
func unclear(err error) bool {
	return hasName(err, noReply) || errors.Is(err, dbus.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// call calls a method of the service manager.
func (b *Backend) call(ctx context.Context, member string, args ...any) *dbus.Call {
	return b.callAt(ctx, managerPath, managerName+"."+member, args...)
}

func (b *Backend) callAt(ctx context.Context, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	for {
		m, err := b.find(ctx)
		if err != nil {
			return &dbus.Call{Err: err}
		}
		call := m.call(ctx, path, method, args...)
		if !undelivered(call.Err) {
			if call.Err != nil && ctx.Err() != nil {
				call.Err = context.Cause(ctx)
			} else if errors.Is(call.Err, context.DeadlineExceeded) {
				call.Err = fmt.Errorf("service manager does not answer: %w", call.Err)
			}
			return call
		}
		b.gone(m)
	}
}

// property reads a property of a unit or a job.
func property[T any](ctx context.Context, b *Backend, path dbus.ObjectPath, iface, name string) (value T, err error) {
	if err := b.callAt(ctx, path, propertiesGet, iface, name).Store(&value); err != nil {
		return value, fmt.Errorf("read %s: %w", name, err)
	}
	return value, nil
}

// jobs are what the service manager is asked to do and does in its own time.
type jobs struct {
	waiting map[dbus.ObjectPath]chan string
	// A job may be over before the answer that names it was read: while calls are
	// under way the results of all jobs are kept.
	calls int
	early map[dbus.ObjectPath]string
}

// Results of jobs. All but one are the service manager's words.
const (
	jobDone = "done"
	jobLost = "lost" // it was over while nobody listened
)

func newJobs() jobs {
	return jobs{waiting: map[dbus.ObjectPath]chan string{}, early: map[dbus.ObjectPath]string{}}
}

// runJob calls a method that gives a job and waits for the end of that.
func (b *Backend) runJob(ctx context.Context, member string, args ...any) (result string, err error) {
	b.mu.Lock()
	b.jobs.calls++
	b.mu.Unlock()
	var path dbus.ObjectPath
	err = b.call(ctx, member, args...).Store(&path)
	over := b.await(path, err)
	if err != nil {
		return "", err
	}
	select {
	case result := <-over:
		return result, nil
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.jobs.waiting, path)
		return "", context.Cause(ctx)
	case <-b.ctx.Done():
		return "", machined.ErrClosed
	}
}

// await ends a call that gives a job, and returns what gets its result.
func (b *Backend) await(path dbus.ObjectPath, err error) <-chan string {
	b.mu.Lock()
	defer b.mu.Unlock()
	over := make(chan string, 1)
	if result, ok := b.jobs.early[path]; ok {
		over <- result
	} else if err == nil {
		b.jobs.waiting[path] = over
	}
	if b.jobs.calls--; b.jobs.calls == 0 {
		clear(b.jobs.early)
	}
	return over
}

// removed is called with the lock held.
func (j *jobs) removed(path dbus.ObjectPath, result string) {
	if over := j.waiting[path]; over != nil {
		over <- result
		delete(j.waiting, path)
	} else if j.calls > 0 {
		j.early[path] = result
	}
}

// bring runs a job that has to bring a unit up.
func (b *Backend) bring(ctx context.Context, unit, member string, args ...any) error {
	result, err := b.runJob(ctx, member, args...)
	if err != nil {
		return err
	}
	if result == jobLost {
		if state, err := b.look(ctx, unit); err == nil && state == "active" {
			return nil
		}
	}
	if result != jobDone {
		return fmt.Errorf("%w: %s", machined.ErrJobFailed, result)
	}
	return nil
}
