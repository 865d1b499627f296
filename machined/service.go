package machined

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ExitStatus is how a process ended.
type ExitStatus struct {
	Code   int            // exit code, if Signal is 0
	Signal syscall.Signal // what killed it
	// Known is false if nobody can tell any more: the process was not our child
	// and the kernel (before 6.15) keeps no exit status for others.
	Known bool
}

func (s ExitStatus) String() string {
	switch {
	case !s.Known:
		return "unknown exit status"
	case s.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%s)", int(s.Signal), s.Signal)
	}
	return fmt.Sprintf("exit status %d", s.Code)
}

// StartProcess starts the process of a service in a session of its own. attr is
// for what a backend adds, such as the cgroup to start in. It is a part for
// backends of [Units].
func StartProcess(service Service, attr syscall.SysProcAttr) (*Process, error) {
	pidfd := -1
	attr.Setsid = true
	attr.PidFD = &pidfd
	dir := service.Dir
	if dir == "" {
		dir = "/"
	}
	child, err := os.StartProcess(service.Path, service.Args, &os.ProcAttr{
		Dir: dir, Env: service.Env, Files: service.Files, Sys: &attr,
	})
	if err != nil {
		return nil, fmt.Errorf("start process of unit %s: %w", service.Unit, err)
	}
	pid := child.Pid
	if err := child.Release(); err != nil {
		return nil, fmt.Errorf("start process of unit %s: %w", service.Unit, err)
	}
	if pidfd < 0 {
		// The kernel gave none along with the child; nobody but us reaps it, so the
		// PID still is the child's.
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			return nil, fmt.Errorf("open process %d of unit %s: %w", pid, service.Unit, err)
		}
	}
	return newProcess(pid, os.NewFile(uintptr(pidfd), "pidfd"), true)
}

// ExitStatus tells how the process ended and, if it is a child of ours, reaps
// it. It must be called only once, after the process has ended.
func (p *Process) ExitStatus() (ExitStatus, error) {
	if p.child {
		var status unix.WaitStatus
		pid, err := unix.Wait4(p.PID, &status, unix.WNOHANG, nil)
		if err != nil || pid == 0 {
			return ExitStatus{}, fmt.Errorf("collect exit status of process %d: %w", p.PID,
				errors.Join(err, errNotEnded(pid == 0 && err == nil)))
		}
		p.child = false
		return exitStatus(status), nil
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err := p.control(func(fd int) error { return unix.IoctlPidfdInfo(fd, &info) })
	if err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return ExitStatus{}, nil // an older kernel, or not reaped yet by its parent
	}
	return exitStatus(unix.WaitStatus(info.Exit_code)), nil
}

func errNotEnded(running bool) error {
	if running {
		return errors.New("it is still running")
	}
	return nil
}

func exitStatus(status unix.WaitStatus) ExitStatus {
	if status.Signaled() {
		return ExitStatus{Signal: status.Signal(), Known: true}
	}
	return ExitStatus{Code: status.ExitStatus(), Known: true}
}
