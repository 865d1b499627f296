package nsenter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	// ErrCommandNotFound says that the guest does not have the program.
	ErrCommandNotFound = errors.New("command not found in the machine")
	// ErrNotExecutable says that the guest's kernel refused to run the program
	// (no permission, or not a program).
	ErrNotExecutable = errors.New("command cannot be executed in the machine")
	// ErrNoDirectory says that the working directory asked for cannot be entered.
	ErrNoDirectory = errors.New("working directory is not there in the machine")
	// ErrInvalid says that a Spec cannot be passed to a program.
	ErrInvalid = errors.New("invalid command, environment or directory")
)

// Spec is a command to run in a machine.
type Spec struct {
	// Argv is the command and its arguments. A first word without a slash is
	// searched for in the PATH of the command's environment, within the guest.
	Argv []string
	// Env is added to, and wins over, a clean environment of PATH, HOME, USER,
	// LOGNAME, SHELL, TERM and container. Nothing is taken from the caller's own.
	Env []string
	// User is a name or number of the guest's /etc/passwd; empty means root.
	User string
	// Dir is an absolute path in the guest; empty means the user's home, or /
	// where that is missing.
	Dir string
	// Stdin, Stdout and Stderr are what the command gets, and remain the
	// caller's. Nil means the guest's /dev/null.
	Stdin, Stdout, Stderr *os.File
	// Program, if set, is run in place of the first word of Argv, and not searched
	// for.
	Program string
	// Found, if set, is what [Target.Find] has found for User and for the streams;
	// it remains the caller's. Else Exec looks for it.
	Found *Found
	// Terminal makes Stdin, a terminal, the controlling one of the session.
	Terminal bool
	// OwnUnit says that the caller is alone in a unit of a service manager, whose end
	// is to end the command too: then its control group is made below the caller's.
	OwnUnit bool
	// Started, if set, is called once the command runs.
	Started func()
}

// NeedsNull says whether the command gets the guest's null device.
func (s Spec) NeedsNull() bool { return s.Stdin == nil || s.Stdout == nil || s.Stderr == nil }

// Result is how a command ended.
type Result struct {
	// ExitCode is the exit status; 128 + Signal for a command that was killed.
	ExitCode int
	// Signal is what killed the command, or 0.
	Signal syscall.Signal
}

// Exec runs a command in all namespaces of the target, below its root, in a
// control group of its own beside the leader (or see OwnUnit), and waits until the command
// itself has ended: children that it leaves behind, with its output still open,
// live on in the machine. The command has the user's ids and groups and never
// more capabilities than the leader's bounding set, and it has the leader's
// filters of system calls ([ErrFilters]; not for a caller who is not root),
// resource limits and out-of-memory score. It leads a session, and holds no
// descriptor but the three of the Spec.
//
// When ctx ends before the command, everything in its control group is killed
// (its process group, on a host without cgroup v2) and the context's error is
// returned. A command that could not be started is an error that says why; one
// that was started is a Result.
func Exec(ctx context.Context, t Target, spec Spec) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if err := t.settle(ctx); err != nil {
		return Result{}, err
	}
	p, err := prepare(ctx, t, spec)
	if err != nil {
		return Result{}, err
	}
	result, err := p.run(ctx)
	runtime.KeepAlive(spec) // the plan knows its files by number only
	return result, errors.Join(err, p.close())
}

// run starts the prepared command and sees it to its end.
func (p *plan) run(ctx context.Context) (result Result, err error) {
	reports, reportTo, err := os.Pipe()
	if err != nil {
		return Result{}, fmt.Errorf("make report pipe: %w", err)
	}
	defer func() { err = errors.Join(err, reports.Close()) }()
	p.fds[fdReport] = reportTo.Fd()
	process, err := p.start()
	if err := errors.Join(err, reportTo.Close()); err != nil {
		return Result{}, err
	}
	if p.second {
		if process, err = p.follow(process, reports); err != nil {
			return Result{}, err
		}
	}
	killed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { killed <- p.kill(process) })

	failure := p.early
	if failure == nil {
		failure = readFailure(reports)
	}
	if failure == nil && p.started != nil {
		p.started()
	}
	// Not collected before kill is through, so that the ids it names are taken.
	if err := awaitEnd(process.Pid); err != nil {
		return Result{}, errors.Join(err, p.kill(process))
	}
	if !stop() {
		err = errors.Join(ctx.Err(), <-killed)
	}
	state, waitErr := process.Wait()
	if waitErr != nil {
		err = errors.Join(err, fmt.Errorf("wait for command: %w", waitErr))
	}
	if err != nil {
		return Result{}, err
	}
	if failure != nil {
		return Result{}, p.explain(failure)
	}
	return resultOf(state), nil
}

// awaitEnd waits until a child has ended and leaves its status to be collected.
func awaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for command: %w", err)
		}
	}
}

// kill ends the command and, as far as they can be found, its children.
func (p *plan) kill(process *os.Process) error {
	// The copy leads its process group from its first steps on; before that
	// there is no such group and nobody else is hit.
	group := syscall.Kill(-process.Pid, syscall.SIGKILL)
	if errors.Is(group, syscall.ESRCH) {
		group = nil
	}
	single := process.Kill()
	if errors.Is(single, os.ErrProcessDone) {
		single = nil
	}
	return errors.Join(p.cgroup.kill(), group, single)
}

func resultOf(state *os.ProcessState) Result {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return Result{ExitCode: 128 + int(status.Signal()), Signal: status.Signal()}
	}
	return Result{ExitCode: state.ExitCode()}
}

// explain turns what the copy reported into an error for people.
func (p *plan) explain(f *failure) error {
	step := stepNames[f.step]
	switch f.step {
	case stepExec:
		kind := ErrNotExecutable
		if f.errno == unix.ENOENT || f.errno == unix.ENOTDIR {
			kind = ErrCommandNotFound
		}
		return fmt.Errorf("%s %q: %w: %w", step, p.command, kind, f.errno)
	case stepDir:
		return fmt.Errorf("%s %q: %w: %w", step, p.workdir, ErrNoDirectory, f.errno)
	case stepErrand:
		return f.errno
	case stepIDs:
		if f.errno == unix.EINVAL {
			return fmt.Errorf("%s: user %d, group %d or one of the groups %d is not in its user namespace: %w",
				step, p.uid, p.gid, p.groups, f.errno)
		}
		return fmt.Errorf("%s of process %d: %w", step, p.target.PID, p.target.cause(f.errno))
	default:
		return fmt.Errorf("%s of process %d: %w", step, p.target.PID, p.target.cause(f.errno))
	}
}
