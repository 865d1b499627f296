package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"berth/cmd/internal/console"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/ptyforward"
	"berth/machined"
)

// login opens a login prompt in a machine.
func (t *tool) login(ctx context.Context, args []string) error {
	if t.uid != "" || len(t.environment) > 0 {
		return errors.New("login takes neither --uid nor --setenv, which are for shell")
	}
	s := machineapi.Session{Mode: machineapi.OpenLogin, Machine: machined.HostName}
	if len(args) > 0 && args[0] != "" {
		s.Machine = args[0]
	}
	return t.session(ctx, s)
}

// shell opens a shell in a machine, or runs another program on its terminal.
func (t *tool) shell(ctx context.Context, args []string) error {
	s := machineapi.Session{
		Mode: machineapi.OpenShell, Machine: machined.HostName, User: t.uid, Env: t.sessionEnvironment(),
	}
	if len(args) > 0 {
		var err error
		if s.User, s.Machine, err = t.userAndMachine(args[0]); err != nil {
			return err
		}
	}
	if len(args) > 1 && args[1] != "" {
		s.Path = args[1]
		if len(args) > 2 {
			s.Args = args[1:]
		}
	}
	return t.session(ctx, s)
}

// sessionEnvironment tells the other side which terminal it writes to.
func (t *tool) sessionEnvironment() []string {
	env := t.environment
	add := func(assignment string) {
		name, _, _ := strings.Cut(assignment, "=")
		for _, given := range t.environment {
			if strings.HasPrefix(given, name+"=") {
				return
			}
		}
		env = append(env[:len(env):len(env)], assignment)
	}
	if t.dumb() {
		add("TERM=dumb")
		return env
	}
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR"} {
		if value, ok := os.LookupEnv(name); ok {
			add(name + "=" + value)
		}
	}
	return env
}

// dumb says whether our terminal takes nothing but text, or is none.
func (t *tool) dumb() bool {
	term := t.Getenv("TERM")
	return term == "" || term == "dumb" || !console.IsTerminal(t.Stdout) || !console.IsTerminal(t.Stderr)
}

// session joins our terminal to one in a machine. How the program in there ends
// is not known.
func (t *tool) session(ctx context.Context, s machineapi.Session) error {
	if !t.Target.Local() && t.Target.Host != "" {
		return fmt.Errorf("%s is for machines of this host only", s.Mode)
	}
	return t.allowed(ctx, func(d daemon) (err error) {
		vm, err := virtual(ctx, d, s.Machine)
		if err != nil {
			return err
		}
		if vm != nil {
			return t.sshSession(ctx, *vm, s)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		gone, err := d.Removal(ctx, s.Machine)
		if err != nil {
			return err
		}
		pty, err := d.Open(ctx, s)
		if err != nil {
			return step("open a terminal", err)
		}
		defer func() { err = errors.Join(err, pty.Close()) }()
		return t.forwardTerminal(ctx, s, pty, gone)
	})
}

func (t *tool) forwardTerminal(ctx context.Context, s machineapi.Session, pty *os.File, gone <-chan struct{}) error {
	where := "machine " + s.Machine
	if s.Machine == machined.HostName {
		where = "the local host"
	}
	t.say("Connected to %s. Press ^] three times within 1s to exit session.", where)
	if !t.dumb() {
		defer t.nested(s.Machine)()
	}
	reason, err := ptyforward.Forward(ctx, pty, ptyforward.Options{
		In: t.Stdin, Out: t.Stdout, Patient: s.Mode == machineapi.OpenLogin, Gone: gone,
	})
	if reason == ptyforward.Gone && s.Mode == machineapi.OpenLogin {
		t.say("Machine %s terminated.", s.Machine)
	} else {
		t.say("Connection to %s terminated.", where)
	}
	return err
}

// say tells the user something, unless the tool is quiet.
func (t *tool) say(format string, args ...any) {
	if !t.Quiet {
		fmt.Fprintf(t.Stderr, format+"\n", args...)
	}
}
