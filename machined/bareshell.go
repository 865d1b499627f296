package machined

import (
	"errors"
	"os"

	"berth/machined/nsenter"
)

// bareShell runs a program on a terminal where no service manager does it. It
// goes on until it ends by itself, is hung up, or the Manager is closed.
func (m *Manager) bareShell(machine Machine, pty nsenter.PTY, r ShellRequest) error {
	s, err := m.openBareShell(machine, pty)
	if err != nil {
		return err
	}
	if err := m.begin(); err != nil {
		return errors.Join(err, s.close())
	}
	started, ended := make(chan struct{}), make(chan error, 1)
	spec := nsenter.Spec{
		Program: r.Path, Argv: r.Args, Env: r.Env, User: r.User,
		Stdin: s.terminal, Stdout: s.terminal, Stderr: s.terminal,
		Terminal: true, Started: func() { close(started) },
	}
	go func() {
		defer m.background.Done()
		_, err := m.command(m.ctx, machine, s.leader.target(), spec)
		ended <- errors.Join(err, s.close())
	}()
	select {
	case <-started:
		return nil
	case err := <-ended:
		return err
	}
}

// bareShellFiles are what a shell needs for as long as it runs.
type bareShellFiles struct {
	leader   *Process
	terminal *os.File // the machine's end
}

func (s bareShellFiles) close() error { return errors.Join(s.leader.Close(), s.terminal.Close()) }

func (m *Manager) openBareShell(machine Machine, pty nsenter.PTY) (bareShellFiles, error) {
	_, leader, err := m.inside(machine.Pin(m.ctx), machine.Name)
	if err != nil {
		return bareShellFiles{}, err
	}
	terminal, err := pty.Peer()
	if err != nil {
		return bareShellFiles{}, errors.Join(err, leader.Close())
	}
	return bareShellFiles{leader, terminal}, nil
}
