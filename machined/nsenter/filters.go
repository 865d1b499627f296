package nsenter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrFilters says that the machine has filters of system calls and that a command
// cannot be given the same, without which it would be stronger than the machine.
var ErrFilters = errors.New("filters of system calls of the machine cannot be taken over")

const (
	// maxFilters and maxFilterLength bound what is copied; the second is the kernel's
	// own limit of one filter, in instructions.
	maxFilters      = 256
	maxFilterLength = 4096
	// tracedLimit is how long another tracer of the leader is waited for.
	// It bounds how long the leader may take to stop, too.
	tracedLimit = 10 * time.Second
	// stopStep is how often the leader is looked at that is to stop, which takes
	// microseconds.
	stopStep = 200 * time.Microsecond
	// getFilter is PTRACE_SECCOMP_GET_FILTER.
	getFilter = 0x420c
)

// filters copies the leader's filters of system calls, the oldest first. Only root
// is shown them; for a plain user there are none, who has no more rights in the
// machine than everywhere on the host.
func (t Target) filters(ctx context.Context, st status) (list []unix.SockFprog, err error) {
	if st.seccomp == 0 || os.Geteuid() != 0 || t.PID == os.Getpid() { // whose filters the copy has
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tracedLimit)
	defer cancel()
	// Tracing is a matter of threads; the end of this one would end it, too.
	err = onThread(func() (err error) {
		sig, err := t.trace(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.ptrace(unix.PTRACE_DETACH, uintptr(sig))) }()
		list, err = t.readFilters()
		return err
	})
	if gone := t.Alive(); gone != nil {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFilters, err)
	}
	return list, nil
}

// trace stops the leader for a moment. The signal that it is about to get is to be
// passed on. A process has one tracer at a time, so this waits for its turn.
func (t Target) trace(ctx context.Context) (passOn syscall.Signal, err error) {
	tick := time.NewTicker(settleStep)
	defer tick.Stop()
	for {
		err := t.ptrace(unix.PTRACE_SEIZE, 0)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EPERM) {
			return 0, fmt.Errorf("trace leader: %w", err)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("trace leader, which somebody else does: %w", err)
		case <-tick.C:
		}
	}
	if err := t.ptrace(unix.PTRACE_INTERRUPT, 0); err != nil {
		return 0, fmt.Errorf("stop leader: %w", err)
	}
	return t.awaitStop(ctx)
}

// awaitStop waits until the leader has stopped, which it does not as long as it
// waits in the kernel, for a file system that never answers, say.
func (t Target) awaitStop(ctx context.Context) (passOn syscall.Signal, err error) {
	tick := time.NewTicker(stopStep)
	defer tick.Stop()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(t.PID, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("wait for leader to stop: %w", err)
		case pid != 0 && !status.Stopped():
			return 0, ErrGone
		case pid != 0 && status>>16 == 0:
			return status.StopSignal(), nil // and no event of tracing
		case pid != 0:
			return 0, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for leader to stop: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// readFilters reads those of the stopped leader.
func (t Target) readFilters() (list []unix.SockFprog, err error) {
	for i := range uintptr(maxFilters) {
		buffer := make([]unix.SockFilter, maxFilterLength)
		n, _, errno := syscall.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(t.PID), i, uintptr(unsafe.Pointer(&buffer[0])), 0, 0)
		switch {
		case errno == unix.ENOENT:
			return list, nil
		case errno != 0:
			return nil, fmt.Errorf("read filter %d: %w", i, errno)
		case n == 0 || n > maxFilterLength:
			return nil, fmt.Errorf("read filter %d: %d instructions: %w", i, n, unix.EMSGSIZE)
		}
		list = append(list, unix.SockFprog{Len: uint16(n), Filter: &buffer[0]})
	}
	return nil, fmt.Errorf("more than %d filters: %w", maxFilters, unix.E2BIG)
}

func (t Target) ptrace(request, data uintptr) error {
	if _, _, errno := syscall.Syscall6(unix.SYS_PTRACE, request, uintptr(t.PID), 0, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
