package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// PagerOptions say whether and how output is paged.
type PagerOptions struct {
	Stdout, Stderr *os.File
	// Terminal says that Stdout is one; only then there is a pager.
	Terminal bool
	// Disabled is --no-pager.
	Disabled bool
	// Environ is what the pager is started with.
	Environ []string
	Getenv  func(string) string
	// Secure runs less only, and keeps it from starting programs: for users who have more rights than they logged in
	// with. $SYSTEMD_PAGERSECURE overrides it.
	Secure bool
}

// pager is a program that shows what is written to it.
type pager struct {
	io.WriteCloser
	cmd *exec.Cmd
}

// StartPager returns where to write output. Close waits until the user has left the pager. Where there is none, writes go
// to Stdout.
func StartPager(ctx context.Context, o PagerOptions) (io.WriteCloser, error) {
	if o.Disabled || !o.Terminal || o.Getenv("TERM") == "dumb" {
		return direct{o.Stdout}, nil
	}
	if on, ok := ParseBool(o.Getenv("SYSTEMD_PAGERSECURE")); ok {
		o.Secure = on
	}
	for _, command := range o.commands() {
		if len(command) == 0 || command[0] == "cat" {
			return direct{o.Stdout}, nil
		}
		path, err := exec.LookPath(command[0])
		if err != nil {
			continue
		}
		return o.start(ctx, path, command[1:])
	}
	return direct{o.Stdout}, nil
}

// commands lists what is tried; an empty command means that no pager is wanted.
func (o PagerOptions) commands() [][]string {
	if o.Secure {
		return [][]string{{"less"}}
	}
	for _, name := range []string{"SYSTEMD_PAGER", "PAGER"} {
		if text := o.Getenv(name); text != "" {
			return [][]string{strings.Fields(text), {"less"}, {"more"}}
		}
	}
	return [][]string{{"less"}, {"more"}}
}

func (o PagerOptions) start(ctx context.Context, path string, args []string) (io.WriteCloser, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = o.Stdout, o.Stderr
	less := o.Getenv("SYSTEMD_LESS")
	if less == "" {
		less = "FRSXMK"
	}
	cmd.Env = append(o.Environ[:len(o.Environ):len(o.Environ)], "LESS="+less)
	if o.Secure {
		cmd.Env = append(cmd.Env, "LESSSECURE=1")
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start pager: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start pager %q: %w", path, err)
	}
	return &pager{in, cmd}, nil
}

// Write ignores that the user has left the pager before the end.
func (p *pager) Write(data []byte) (int, error) {
	n, err := p.WriteCloser.Write(data)
	if errors.Is(err, syscall.EPIPE) {
		return len(data), nil
	}
	return n, err
}

func (p *pager) Close() error {
	err := p.WriteCloser.Close()
	if waitErr := p.cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("pager: %w", waitErr))
	}
	return err
}

// direct writes to a file that stays open.
type direct struct{ *os.File }

func (direct) Close() error { return nil }
