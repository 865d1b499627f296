package compress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// childWriter is the input of a child whose output goes to a writer.
type childWriter struct {
	cmd    *exec.Cmd
	said   *message
	in     feed
	out    *sink
	ctxErr func() error
	ended  bool
	err    error
}

var _ io.WriteCloser = (*childWriter)(nil)

// startWriter runs a program and copies its output to w. A file is not handed to
// the program itself: what goes wrong in writing to it, such as a full disk,
// must come back as an error and not as a sentence.
func startWriter(ctx context.Context, w io.Writer, path string, args ...string) (*childWriter, error) {
	stdin, in, err := pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe to %s: %w", path, err)
	}
	cmd, said := command(ctx, path, args...)
	out := &sink{w: w}
	cmd.Stdin, cmd.Stdout = stdin, out
	err = cmd.Start()
	_ = stdin.Close() // the child has its own
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // not that no program is started any more
		}
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), in.Close())
	}
	return &childWriter{
		cmd: cmd, said: said, in: newFeed(in), out: out,
		ctxErr: func() error { return context.Cause(ctx) },
	}, nil
}

func (c *childWriter) Write(p []byte) (int, error) {
	if c.ended {
		return 0, errors.Join(c.err, ErrClosed)
	}
	n, err := c.in.Write(p)
	if err != nil {
		// A child that no longer reads has ended or is about to.
		return n, errors.Join(c.end(), err)
	}
	return n, nil
}

// Close returns when the child has ended and all its output is written.
func (c *childWriter) Close() error {
	if c.ended {
		return c.err
	}
	return c.end()
}

func (c *childWriter) end() error {
	c.ended = true
	closeErr := c.in.Close()
	err := c.cmd.Wait()
	switch {
	case c.out.err != nil:
		c.err = fmt.Errorf("write compressed data: %w", c.out.err)
	case c.ctxErr() != nil:
		c.err = fmt.Errorf("%s: %w", c.cmd.Path, c.ctxErr())
	case err != nil:
		c.err = childError(c.cmd.Path, err, c.said, func(string) error { return errChild })
	case closeErr != nil:
		c.err = fmt.Errorf("end input of %s: %w", c.cmd.Path, closeErr)
	}
	return c.err
}
