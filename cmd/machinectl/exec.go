package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/cmd/internal/machineapi"
)

// statusNotRun is the exit status when the command was not run, unless a shell
// has a status for the reason. It is the one that env(1), chroot(1) and
// container engines use.
const statusNotRun = 125

// commandRunner is a machined that runs commands without a terminal.
type commandRunner interface {
	Exec(ctx context.Context, name string, command machineapi.Command, stdin, stdout, stderr *os.File) (int, error)
}

var _ commandRunner = (*machineapi.Client)(nil)

var errNoExec = errors.New("the machined that runs here cannot run commands without a terminal: use 'machinectl shell'")

// exec runs a command in a machine, with our own standard streams. The run ends
// with the command, and its exit status becomes ours.
func (t *tool) exec(ctx context.Context, args []string) error {
	name, command := args[0], args[1:]
	if command[0] == "--" {
		command = command[1:]
	}
	user, machine, err := t.userAndMachine(name)
	if err != nil {
		return &cli.Exit{Status: statusNotRun, Err: err}
	}
	if len(command) == 0 {
		return &cli.Exit{Status: statusNotRun, Err: &cli.UsageError{Text: "Too few arguments."}}
	}
	status := 0
	err = t.allowed(ctx, func(d daemon) (err error) {
		vm, err := virtual(ctx, d, machine)
		if err != nil {
			return err
		}
		if vm != nil {
			status, err = t.sshExec(ctx, *vm, user, command)
			return err
		}
		c, ok := d.(commandRunner)
		if !ok {
			return errNoExec
		}
		status, err = c.Exec(ctx, machine, machineapi.Command{
			Argv: command, Env: t.commandEnvironment(), User: user, Dir: t.directory,
		}, t.Stdin, t.Stdout, t.Stderr)
		return err
	})
	return execEnd(ctx, status, err)
}

// execEnd turns the end of a command into our own.
func execEnd(ctx context.Context, status int, err error) error {
	if cause, ok := errors.AsType[interrupted](context.Cause(ctx)); ok {
		return &cli.Exit{Status: 128 + int(cause.signal)}
	}
	if failed, ok := errors.AsType[*machineapi.ExecError](err); ok {
		return &cli.Exit{Status: failed.ExitStatus, Err: err}
	}
	if err != nil {
		return &cli.Exit{Status: statusNotRun, Err: err}
	}
	if status != 0 {
		return &cli.Exit{Status: status}
	}
	return nil
}

// userAndMachine splits [USER@]NAME.
func (t *tool) userAndMachine(text string) (user, machine string, err error) {
	user, machine = t.uid, text
	if before, after, ok := strings.Cut(text, "@"); ok {
		if before == "" {
			return "", "", fmt.Errorf("'%s' names no user before '@'", text)
		}
		user, machine = before, after
	}
	if machine == "" {
		machine = ".host"
	}
	return user, machine, nil
}

// commandEnvironment tells the command about the terminal it writes to.
func (t *tool) commandEnvironment() []string {
	if !console.IsTerminal(t.Stdout) {
		return t.environment
	}
	var env []string
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, t.environment...)
}
