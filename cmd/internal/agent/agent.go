// Package agent lets polkit ask the user of a tool for a password on the terminal.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// program is polkit's own agent for terminals.
const program = "pkttyagent"

// Start starts an agent for this process and returns when it is ready; stop ends
// it. Where there is no agent to be had it does nothing: then whoever may do
// something only with a password may not do it.
func Start(ctx context.Context) (stop func(), err error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return func() {}, nil //nolint:nilerr // a system without polkit is no failure
	}
	ready, notify, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	defer func() { err = errors.Join(err, ready.Close()) }()
	// The agent's notify-fd is 3, the first of the extra files.
	cmd := exec.CommandContext(ctx, path, "--notify-fd", "3", "--fallback")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{notify}
	err = cmd.Start()
	if err := errors.Join(err, notify.Close()); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	// It closes its end when it is ready, or with its own end.
	_, _ = io.Copy(io.Discard, ready)
	return func() {
		// It may have been stopped for using a terminal in the background.
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
			_ = cmd.Process.Signal(s) // it has ended already
		}
		_ = cmd.Wait() // how it ends is of no interest
	}, nil
}
