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
// it. It must be called only once, after the process has ended. For the child of
// another it may take some seconds.
func (p *Process) ExitStatus() (ExitStatus, error) {
	if p.status.Known {
		return p.status, nil
	}
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
	var status ExitStatus
	err := p.control(func(fd int) error {
		// The status is there once the parent has reaped the process, which the
		// kernel tells by hanging up.
		if _, err := pollFor(fd, 0, reapLimit); err != nil {
			return err
		}
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		if err := unix.IoctlPidfdInfo(fd, &info); err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			status = exitStatus(unix.WaitStatus(info.Exit_code))
		} // else an older kernel, or a parent that does not reap
		return nil
	})
	if err != nil {
		return ExitStatus{}, fmt.Errorf("look for exit status of process %d: %w", p.PID, err)
	}
	return status, nil
}

// reapLimit is how long a parent may take to reap its child, in milliseconds.
const reapLimit = 5000

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
