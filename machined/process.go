package machined

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a process held by a pidfd: it cannot be confused with another one
// that gets the same PID later. Close it when done.
type Process struct {
	ProcessID
	fd    *os.File
	child bool // of this process, not reaped yet
	// status is set if another reaped the process and told how it ended.
	status ExitStatus
}

// OpenProcess opens the living process with the given PID; [ErrNoSuchProcess]
// if there is none.
func OpenProcess(pid int) (*Process, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("open process %d: %w", pid, ErrNoSuchProcess)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		// EINVAL and, since 6.15, ENOENT: the number of a thread.
		return nil, fmt.Errorf("open process %d: %w", pid, ErrNoSuchProcess)
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return newProcess(pid, os.NewFile(uintptr(fd), "pidfd"), false)
}

// OpenPIDFD makes a Process of a pidfd, of which it takes a copy.
func OpenPIDFD(pidfd *os.File) (*Process, error) {
	dup, err := dupFile(pidfd)
	if err != nil {
		return nil, fmt.Errorf("copy pidfd: %w", err)
	}
	pid, err := pidOfPIDFD(dup)
	if err != nil {
		return nil, errors.Join(err, dup.Close())
	}
	return newProcess(pid, dup, false)
}

// EndedProcess stands for a process that had ended before it could be held,
// where the one who reaped it tells how. It is a part for backends of [Units].
func EndedProcess(pid int, status ExitStatus) (*Process, error) {
	// Readable, as the pidfd of a process that has ended.
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("stand for process %d: %w", pid, err)
	}
	return &Process{ProcessID: ProcessID{PID: pid}, fd: os.NewFile(uintptr(fd), "ended process"), status: status}, nil
}

// newProcess takes fd over.
func newProcess(pid int, fd *os.File, child bool) (*Process, error) {
	id, err := pidfdID(fd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("identify process %d: %w", pid, err), fd.Close())
	}
	return &Process{ProcessID: ProcessID{PID: pid, PIDFDID: id}, fd: fd, child: child}, nil
}

// reopen opens the process that id names; [ErrNoSuchProcess] if it has ended,
// also when its PID has gone to another process.
func (id ProcessID) reopen() (*Process, error) {
	p, err := OpenProcess(id.PID)
	if err != nil {
		return nil, err
	}
	if id.PIDFDID != 0 && p.PIDFDID != 0 && id.PIDFDID != p.PIDFDID {
		return nil, errors.Join(fmt.Errorf("process %d is another one now: %w", id.PID, ErrNoSuchProcess), p.Close())
	}
	return p, nil
}

// Alive reports whether the process has not ended; a zombie has.
func (p *Process) Alive() bool {
	alive := false
	_ = p.control(func(fd int) error {
		n, err := poll(fd, 0)
		alive = err == nil && n == 0
		return nil
	})
	return alive
}

// Signal sends sig; [ErrNoSuchProcess] if the process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	err := p.control(func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
	if errors.Is(err, unix.ESRCH) || p.status.Known {
		err = ErrNoSuchProcess
	}
	if err != nil {
		return fmt.Errorf("send signal %d to process %d: %w", int(sig), p.PID, err)
	}
	return nil
}

// Dup returns another handle of the same process. It cannot collect an exit
// status by waiting.
func (p *Process) Dup() (*Process, error) {
	fd, err := dupFile(p.fd)
	if err != nil {
		return nil, fmt.Errorf("copy pidfd of process %d: %w", p.PID, err)
	}
	return &Process{ProcessID: p.ProcessID, fd: fd, status: p.status}, nil
}

// PIDFD is the pidfd; it stays the Process's.
func (p *Process) PIDFD() *os.File { return p.fd }

// Close gives the handle back. The process itself is not touched.
func (p *Process) Close() error { return p.fd.Close() }

// control runs f with the number of the pidfd, which stays open meanwhile.
func (p *Process) control(f func(fd int) error) error { return withFD(p.fd, f) }

func withFD(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func dupFile(file *os.File) (*os.File, error) {
	var dup *os.File
	err := withFD(file, func(fd int) error {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			dup = os.NewFile(uintptr(n), "pidfd")
		}
		return err
	})
	return dup, err
}

// poll asks whether fd is readable, waiting at most timeout milliseconds.
func poll(fd, timeout int) (int, error) { return pollFor(fd, unix.POLLIN, timeout) }

// pollFor is poll for other events; a hang-up counts in any case.
func pollFor(fd int, events int16, timeout int) (int, error) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, timeout)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
