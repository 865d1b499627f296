package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"berth/machined/apart"
	"berth/machined/nsenter"
)

// ErrUnsafeMachine means that the machine belongs to a plain user and has no user
// namespace of the user's, so that root in it would be root of the host, in an
// environment made by that user. Nobody may run anything in it.
var ErrUnsafeMachine = errors.New("machine of a plain user is not in a user namespace of that user")

// ExecRequest is a command to run in a machine.
type ExecRequest struct {
	// Argv is the command and its arguments; a first word without a slash is
	// searched for in PATH, within the machine.
	Argv []string
	// Env is added to a clean environment.
	Env []string
	// User is a name or number that the machine knows; empty means root.
	User string
	// Dir is an absolute path in the machine; empty means the user's home.
	Dir string
	// Stdin, Stdout and Stderr stay the caller's; nil is the machine's /dev/null.
	Stdin, Stdout, Stderr *os.File
}

// Commands runs commands in machines, with the contract of [nsenter.Exec].
type Commands interface {
	Exec(ctx context.Context, t nsenter.Target, spec nsenter.Spec) (nsenter.Result, error)
}

// command runs a command. Where it is a child of this process, what has to be
// looked for in the machine's files is looked for apart.
func (m *Manager) command(ctx context.Context, machine Machine, t nsenter.Target, spec nsenter.Spec) (_ nsenter.Result, err error) {
	if m.config.Commands != nil {
		return m.config.Commands.Exec(ctx, t, spec)
	}
	found, err := m.apart.Find(ctx, apart.Machine{Target: t, User: machine.UID}, spec.User, spec.NeedsNull())
	if err != nil {
		return nsenter.Result{}, explain(err)
	}
	if found.Null != nil {
		defer func() { err = errors.Join(err, found.Null.Close()) }()
	}
	spec.Found = &found
	if spec.Ended, err = m.apart.Command(apart.Machine{Target: t, User: machine.UID}); err != nil {
		return nsenter.Result{}, explain(err)
	}
	return nsenter.Exec(ctx, t, spec)
}

// ExecResult is how the command ended.
type ExecResult struct {
	// ExitCode is the exit status, or 128 + Signal.
	ExitCode int
	// Signal is what killed the command, or 0.
	Signal syscall.Signal
}

// Exec runs a command in a machine and waits for it. Canceling ctx kills the
// command and what it started. A command that could not be started is an error
// that wraps one of package nsenter: ErrCommandNotFound, ErrNotExecutable,
// ErrUnknownUser, ErrNoDirectory, ErrInvalid; or it is [ErrUnsafeMachine],
// [ErrNotSupported] or [ErrNoSuchMachine].
func (m *Manager) Exec(ctx context.Context, name string, request ExecRequest) (result ExecResult, err error) {
	err = m.enter(ctx, name, func(machine Machine, t nsenter.Target) error {
		if err := machine.safeToEnter(t); err != nil {
			return err
		}
		got, err := m.command(ctx, machine, t, nsenter.Spec{
			Argv: request.Argv, Env: request.Env, User: request.User, Dir: request.Dir,
			Stdin: request.Stdin, Stdout: request.Stdout, Stderr: request.Stderr,
		})
		result = ExecResult(got)
		return err
	})
	return result, err
}

// SafeToEnter refuses, before anybody is asked for permission, machines in which
// nobody may run anything: [ErrUnsafeMachine], [ErrNotSupported].
func (m *Manager) SafeToEnter(ctx context.Context, machine Machine) error {
	return m.enter(machine.Pin(ctx), machine.Name, func(machine Machine, t nsenter.Target) error { return machine.safeToEnter(t) })
}

// safeToEnter refuses machines in which the ids of the host count but whose owner
// is neither root nor who enters: program, libraries and files would be the
// owner's choice. A user namespace that the owner neither made nor is root in may
// have ids that he must not get at: those of the host itself, or of a machine in
// which he is nobody special.
func (m Machine) safeToEnter(t nsenter.Target) error {
	if m.UID == 0 || int(m.UID) == os.Geteuid() || m.Class == ClassHost {
		return nil
	}
	own, err := inNamespaceOf(t.PID, m.UID)
	if err != nil {
		return fmt.Errorf("find owner of user namespace: %w", err)
	}
	if !own {
		root, err := rootOf(t)
		own = err == nil && root == m.UID
	}
	// Only now is it known whose namespace that was.
	foreign, err := t.Foreign()
	if err != nil {
		return err
	}
	if !own || foreign&nsenter.User == 0 {
		return fmt.Errorf("run command: owner is user %d: %w", m.UID, ErrUnsafeMachine)
	}
	return nil
}
