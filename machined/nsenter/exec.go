package nsenter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

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
	// ErrHangs says that a command waits in the kernel for what never comes, and does
	// not end although it was killed.
	ErrHangs = errors.New("command hangs in the kernel")
	// ErrInvalid says that a Spec cannot be passed to a program.
	ErrInvalid = errors.New("invalid command, environment or directory")
)

// hangLimit is how long a command that was killed may take to end. Its control
// group may take emptyDeadline after that.
const hangLimit = 2*time.Second + emptyDeadline

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
	// Ended, if set, is called once when nothing is left of the command's own process,
	// or none was started. That may be after Exec has returned, see [ErrHangs].
	Ended func()
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
// returned. One that does not end then, because it waits for a file system that
// never answers, is given up: [ErrHangs]. A command that could not be started is an
// error that says why; one that was started is a Result.
func Exec(ctx context.Context, t Target, spec Spec) (Result, error) {
	err := ctx.Err()
	if err == nil {
		err = t.settle(ctx)
	}
	var p *plan
	if err == nil {
		p, err = prepare(ctx, t, spec)
	}
	if err != nil {
		if spec.Ended != nil {
			spec.Ended()
		}
		return Result{}, err
	}
	result, err := p.run(ctx)
	runtime.KeepAlive(spec) // the plan knows its files by number only
	return result, err
}

// run starts the prepared command and sees it to its end, and then closes the plan.
// That is done behind the back of a caller who has given the command up.
func (p *plan) run(ctx context.Context) (Result, error) {
	reports, process, err := p.begin()
	if err != nil {
		err = errors.Join(err, p.close())
		p.hasEnded()
		return Result{}, err
	}
	type end struct {
		Result
		error
	}
	ended, given := make(chan end, 1), make(chan struct{})
	// Its timer begins when the command has been told to end.
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(hangLimit, func() { close(given) }) })
	defer stop()
	go func() {
		result, err := p.see(ctx, process, reports)
		err = errors.Join(err, reports.Close(), p.close())
		p.hasEnded()
		ended <- end{result, err}
	}()
	select {
	case e := <-ended:
		return e.Result, e.error
	case <-given:
		return Result{}, errors.Join(ctx.Err(), ErrHangs)
	}
}

func (p *plan) hasEnded() {
	if p.over != nil {
		close(p.over)
	}
	if p.ended != nil {
		p.ended()
	}
}

// begin starts the command, which the pipe tells of.
func (p *plan) begin() (reports *os.File, process *os.Process, err error) {
	reports, reportTo, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make report pipe: %w", err)
	}
	p.fds[fdReport] = reportTo.Fd()
	process, err = p.start()
	err = errors.Join(err, reportTo.Close())
	if err == nil && p.second {
		process, err = p.follow(process, reports)
	}
	if err != nil {
		return nil, nil, errors.Join(err, reports.Close())
	}
	return reports, process, nil
}

// see waits for the end of the command.
func (p *plan) see(ctx context.Context, process *os.Process, reports io.Reader) (Result, error) {
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
	err := awaitEnd(process.Pid)
	if err != nil {
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

// awaitEnd waits until a child has ended and leaves its status to be collected. It
// does not keep a thread busy: that would be one for each command.
func awaitEnd(pid int) (err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open pidfd of command: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(fmt.Errorf("watch command: %w", err), unix.Close(fd))
	}
	handle := os.NewFile(uintptr(fd), "pidfd of command") // that the runtime polls
	defer func() { err = errors.Join(err, handle.Close()) }()
	conn, err := handle.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch command: %w", err)
	}
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0) // which returns at once, and so is not interrupted
		failed = err
		return err != nil || n > 0
	})
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("watch command: %w", err)
	}
	return nil
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
