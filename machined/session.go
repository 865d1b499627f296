package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"berth/machined/apart"
	"berth/machined/machinebus"
	"berth/machined/nsenter"
)

// ErrNoBus means that the machine has no system bus, or no systemd on it, to ask
// for a session.
var ErrNoBus = errors.New("no system bus with systemd in the machine")

// Terminal is the host's end of a pseudo terminal of a machine.
type Terminal struct {
	// File is the caller's to close; that hangs up.
	File *os.File
	// Path is the other end's name within the machine.
	Path string
}

// ShellRequest is a program to run on a terminal of its own.
type ShellRequest struct {
	User string // name or number; empty means root
	// Path is absolute; empty means the user's login shell.
	Path string
	// Args are the program's from argv[0] on; empty means just Path. They do not
	// count without a Path.
	Args []string
	Env  []string // KEY=VALUE
}

// OpenPTY opens a pseudo terminal in a container, or of the host, with nothing
// behind it. [ErrNotSupported] for virtual machines.
func (m *Manager) OpenPTY(ctx context.Context, name string) (Terminal, error) {
	return m.openTerminal(ctx, name, func(Machine, nsenter.Target, nsenter.PTY) error { return nil })
}

// OpenLogin opens a terminal with a login prompt of the machine's systemd.
// [ErrNoBus], [ErrUnsafeMachine], [ErrNotSupported].
func (m *Manager) OpenLogin(ctx context.Context, name string) (Terminal, error) {
	return m.openTerminal(ctx, name, func(machine Machine, t nsenter.Target, pty nsenter.PTY) error {
		if err := machine.safeToEnter(t); err != nil {
			return err
		}
		return m.withBus(ctx, machine, t, func(bus *machinebus.Bus) error {
			return bus.StartUnit(ctx, fmt.Sprintf("container-getty@%d.service", pty.Number))
		})
	})
}

// OpenShell opens a terminal with a shell, or another program, as a session of
// the machine's systemd. A machine without systemd gets the program all the
// same, as a process of its own; then the errors of [Manager.Exec] count.
// [ErrUnsafeMachine], [ErrNotSupported], [ErrInvalidArgument].
func (m *Manager) OpenShell(ctx context.Context, name string, r ShellRequest) (Terminal, error) {
	r, err := r.Complete()
	if err != nil {
		return Terminal{}, fmt.Errorf("open shell: %w", err)
	}
	return m.openTerminal(ctx, name, func(machine Machine, t nsenter.Target, pty nsenter.PTY) (err error) {
		if err := machine.safeToEnter(t); err != nil {
			return err
		}
		terminal, err := pty.Peer()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, terminal.Close()) }()
		err = m.withBus(ctx, machine, t, func(bus *machinebus.Bus) error {
			return bus.StartShell(ctx, machinebus.Shell{
				Number: pty.Number, Terminal: terminal, User: r.User, Path: r.Path, Args: r.Args, Env: r.Env,
			})
		})
		if errors.Is(err, ErrNoBus) {
			return m.bareShell(machine, pty, r)
		}
		return err
	})
}

// openTerminal makes a terminal and has use put something behind it.
func (m *Manager) openTerminal(
	ctx context.Context, name string, use func(Machine, nsenter.Target, nsenter.PTY) error,
) (terminal Terminal, err error) {
	if err := ctx.Err(); err != nil {
		return Terminal{}, err
	}
	err = m.enter(ctx, name, func(machine Machine, t nsenter.Target) error {
		owner, err := rootOf(t)
		if err != nil {
			return err
		}
		pty, err := m.apart.OpenPTY(ctx, apart.Machine{Target: t, User: machine.UID}, owner)
		if err != nil {
			return explain(err)
		}
		if err := use(machine, t, pty); err != nil {
			return errors.Join(err, pty.Master.Close())
		}
		terminal = Terminal{File: pty.Master, Path: pty.Path()}
		return nil
	})
	return terminal, err
}

// withBus runs f with the machine's service manager. [ErrNoBus].
func (m *Manager) withBus(ctx context.Context, machine Machine, t nsenter.Target, f func(*machinebus.Bus) error) (err error) {
	socket, err := m.apart.Connect(ctx, apart.Machine{Target: t, User: machine.UID}, machinebus.Socket)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, nsenter.ErrNotSocket),
		errors.Is(err, unix.ECONNREFUSED): // nobody listens
		return fmt.Errorf("%w: %w", ErrNoBus, err)
	case err != nil:
		return explain(err)
	}
	bus, err := machinebus.New(ctx, socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	if err := f(bus); errors.Is(err, machinebus.ErrNoManager) {
		return fmt.Errorf("%w: %w", ErrNoBus, err)
	} else if err != nil {
		return err
	}
	return nil
}

// loginShell runs the shell of the user that is its first argument. Whatever the
// machine takes its users from is asked.
const loginShell = `shell=$(getent passwd "$1" 2>/dev/null | cut -d: -f7)
exec "${shell:-${SHELL:-/bin/sh}}" -l`

// Complete checks a request and fills in what was left out, as polkit is to hear
// of it. [ErrInvalidArgument].
func (r ShellRequest) Complete() (ShellRequest, error) {
	if r.User == "" {
		r.User = "root"
	}
	if err := checkUser(r.User); err != nil {
		return r, err
	}
	if err := checkEnvironment(r.Env); err != nil {
		return r, err
	}
	switch {
	case r.Path == "":
		r.Path, r.Args = "/bin/sh", []string{"sh", "-c", loginShell, "sh", r.User}
	case !path.IsAbs(r.Path) || strings.Contains(r.Path, "\x00"):
		return r, fmt.Errorf("%w: program %q is not an absolute path", ErrInvalidArgument, r.Path)
	case len(r.Args) == 0:
		r.Args = []string{r.Path}
	}
	for _, arg := range r.Args {
		if strings.Contains(arg, "\x00") {
			return r, fmt.Errorf("%w: argument %q", ErrInvalidArgument, arg)
		}
	}
	return r, nil
}
