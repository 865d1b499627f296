package nsenter

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// In calls fn on a thread that has joined the given namespaces of the target;
// those that the target shares with the caller are left alone. In waits for fn
// to return and gives its error back. User namespaces cannot be joined.
//
// The thread ends with the call. fn runs on it alone: it must not hand work to
// other goroutines, and must not start processes with a parent-death signal,
// which would fire when the thread ends. What fn opens stays usable after In.
func In(ctx context.Context, t Target, kinds Namespaces, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if kinds&User != 0 {
		return fmt.Errorf("join user namespace: a thread cannot: %w", unix.EINVAL)
	}
	foreign, err := t.Foreign()
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := t.join(kinds & foreign); err != nil {
			return err
		}
		return fn()
	})
}

// join moves the calling thread, which must be locked and never be unlocked.
func (t Target) join(kinds Namespaces) error {
	if kinds == 0 {
		return nil
	}
	if kinds&Mount != 0 {
		// The kernel refuses a thread that shares its root and working
		// directory with others, as all threads of a Go process do.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare root directory of thread: %w", err)
		}
	}
	if err := unix.Setns(int(t.PIDFD.Fd()), int(kinds)); err != nil {
		return fmt.Errorf("join namespaces %#x of process %d: %w", uint32(kinds), t.PID, t.cause(err))
	}
	return nil
}

// onThread runs fn on a thread that is thrown away afterwards, so that fn may
// change what belongs to a thread.
//
// The main thread is never such a thread: it is not destroyed when its
// goroutine ends, and /proc/self shows its namespaces to the whole process. A
// goroutine that was put there holds it and lets another one do the work.
func onThread(fn func() error) error { return onThreadUntil(nil, fn) }

// onThreadUntil is onThread, but if fn succeeds the thread lives on until over is
// closed, if there is such a channel.
func onThreadUntil(over <-chan struct{}, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThreadUntil(over, fn)
			runtime.UnlockOSThread()
			return
		}
		// Never unlocked: the runtime ends the thread with the goroutine.
		err := fn()
		done <- err
		if err == nil && over != nil {
			<-over
		}
	}()
	return <-done
}
