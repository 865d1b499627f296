package machined

import (
	"errors"

	"berth/machined/nsenter"
)

// bareShell runs a program on a terminal where no service manager does it. It
// goes on until it ends by itself, is hung up, or the Manager is closed.
func (m *Manager) bareShell(machine Machine, pty nsenter.PTY, r ShellRequest) error {
	if err := m.begin(); err != nil {
		return err
	}
	terminal, err := pty.Peer()
	if err != nil {
		m.background.Done()
		return err
	}
	started, ended := make(chan struct{}), make(chan error, 1)
	spec := nsenter.Spec{
		Program: r.Path, Argv: r.Args, Env: r.Env, User: r.User,
		Stdin: terminal, Stdout: terminal, Stderr: terminal,
		Terminal: true, Started: func() { close(started) },
	}
	go func() {
		defer m.background.Done()
		err := m.enter(machine.Name, func(again Machine, t nsenter.Target) error {
			if again.Leader != machine.Leader {
				return ErrNoSuchMachine
			}
			_, err := nsenter.Exec(m.ctx, t, spec)
			return err
		})
		ended <- errors.Join(err, terminal.Close())
	}()
	select {
	case <-started:
		return nil
	case err := <-ended:
		return err
	}
}
