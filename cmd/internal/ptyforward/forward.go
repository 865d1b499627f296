// Package ptyforward joins our own terminal to one that is somewhere else: keys
// go there, output comes back, and the size of the window follows.
package ptyforward

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Reason says how a session ended.
type Reason string

// How a session can end.
const (
	// HungUp means that the other side closed the terminal.
	HungUp Reason = "hung up"
	// Left means that the user left with the escape keys, or that our own terminal
	// went away.
	Left Reason = "left"
	// Gone means that what the terminal belongs to is no more.
	Gone Reason = "gone"
	// Stopped means that the context ended.
	Stopped Reason = "stopped"
)

// Options are our side of a session.
type Options struct {
	// In and Out may be terminals or not.
	In, Out *os.File
	// Patient lets the session go on when nobody has the other side open, as it is
	// between two runs of a login prompt, until Gone is closed or In has ended.
	Patient bool
	// Gone is closed when what the terminal belongs to is no more; nil is never.
	Gone <-chan struct{}
}

// session is one run of Forward.
type session struct {
	Options
	pty     int
	stop    *bell // all goroutines end
	look    *bell // the output is looked at again
	patient atomic.Bool
	gone    atomic.Bool
	last    byte // of the output so far
}

// Forward joins our side to the master of a pseudo terminal until the session
// ends. Our own terminal is in raw mode meanwhile. The master stays open; nobody
// else may use it at the same time.
func Forward(ctx context.Context, master *os.File, o Options) (reason Reason, err error) {
	s := &session{Options: o, pty: int(master.Fd())}
	s.patient.Store(o.Patient)
	if err := unix.SetNonblock(s.pty, true); err != nil {
		return "", fmt.Errorf("prepare the terminal of the machine: %w", err)
	}
	if s.stop, err = newBell(); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.stop.close()) }()
	if s.look, err = newBell(); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.look.close()) }()
	restore, err := raw(o.In)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, restore()) }()
	reason, err = s.run(ctx)
	s.endLine()
	return reason, err
}

// run returns when all goroutines of the session have ended.
func (s *session) run(ctx context.Context) (Reason, error) {
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, syscall.SIGWINCH)
	defer signal.Stop(sizes)
	s.resize()
	output, input := make(chan error, 1), make(chan error, 1)
	var both sync.WaitGroup
	defer both.Wait()
	defer s.stop.ring()
	both.Go(func() { output <- s.copyOut() })
	both.Go(func() { input <- s.copyIn() })
	reason, gone := HungUp, s.Gone
	for {
		select {
		case <-sizes:
			s.resize()
		case <-gone:
			// What is left of the output still comes.
			gone, reason = nil, Gone
			s.gone.Store(true)
			s.patient.Store(false)
			s.look.ring()
		case err := <-output:
			return reason, err
		case err := <-input:
			return Left, err
		case <-ctx.Done():
			return Stopped, nil
		}
	}
}

// endLine lets what comes next on our terminal begin in a line of its own.
func (s *session) endLine() {
	if s.last != 0 && s.last != '\n' && term.IsTerminal(int(s.Out.Fd())) {
		_, _ = s.Out.WriteString("\r\n") // if it has gone away nothing is lost
	}
}

// resize gives the other side the size of our window.
func (s *session) resize() {
	if size, err := unix.IoctlGetWinsize(int(s.Out.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(s.pty, unix.TIOCSWINSZ, size) // a size is not worth a failure
	}
}

// raw puts a terminal into raw mode and returns what undoes it.
func raw(f *os.File) (restore func() error, err error) {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return func() error { return nil }, nil
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("put the terminal into raw mode: %w", err)
	}
	return func() error {
		if err := term.Restore(fd, before); err != nil {
			return fmt.Errorf("restore the terminal: %w", err)
		}
		return nil
	}, nil
}
