package compress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// errChild marks errors of a child that are its own, not those of its data.
var errChild = errors.New("program failed")

// pipeSize is asked for on the pipes of a child, so that both sides run longer
// without waking each other. The kernel grants 1 MiB to anyone.
const pipeSize = 1 << 20

// maxMessage is how much of a child's standard error is kept.
const maxMessage = 2048

// command prepares a program that sees nothing of this process but its pipes.
func command(ctx context.Context, path string, args ...string) (*exec.Cmd, *message) {
	said := &message{}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.Stderr = said
	return cmd, said
}

// message keeps the beginning of what a child writes to standard error.
type message struct{ text []byte }

func (m *message) Write(p []byte) (int, error) {
	m.text = append(m.text, p[:min(len(p), maxMessage-len(m.text))]...)
	return len(p), nil
}

// String returns the text on one line.
func (m *message) String() string {
	return strings.Join(strings.FieldsFunc(string(m.text), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// pipe makes a pipe of pipeSize if it may. Neither end goes through the poller of
// the runtime, which would be woken for each write of a program at the other.
func pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	// A smaller pipe works too, only slower.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

// childReader is the output of a child that is fed from a reader.
type childReader struct {
	cmd    *exec.Cmd
	said   *message
	out    *os.File
	feeder sync.WaitGroup
	ctxErr func() error
	judge  func(said string) error
	pace   pace
	rest   time.Duration // before the next read
	ended  bool
	err    error
}

// startReader runs cmd on the bytes of in. judge makes an error of what the
// child said when it failed.
func startReader(ctx context.Context, cmd *exec.Cmd, said *message, in io.Reader, judge func(string) error) (*childReader, error) {
	stdin, write, err := pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe to %s: %w: %w", cmd.Path, errChild, err)
	}
	out, stdout, err := pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe from %s: %w: %w", cmd.Path, errChild, err), stdin.Close(), write.Close())
	}
	cmd.Stdin, cmd.Stdout = stdin, stdout
	err = cmd.Start()
	_, _ = stdin.Close(), stdout.Close() // the child has its own
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, errors.Join(fmt.Errorf("start %s: %w: %w", cmd.Path, errChild, err), write.Close(), out.Close())
	}
	c := &childReader{cmd: cmd, said: said, out: out, judge: judge, pace: newPace(sizeOf(out)), ctxErr: func() error { return context.Cause(ctx) }}
	c.feeder.Go(func() {
		// A failed read is kept by the source, a failed write shows in how the
		// child ended.
		_, _ = io.CopyBuffer(struct{ io.Writer }{newFeed(write)}, struct{ io.Reader }{in}, make([]byte, bufferSize))
		_ = write.Close()
	})
	return c, nil
}

// Read returns the output of the child; io.EOF only after the child ended well.
func (c *childReader) Read(p []byte) (int, error) {
	if c.ended {
		return 0, c.err
	}
	time.Sleep(c.rest)
	n, err := c.out.Read(p)
	c.rest = c.pace.after(n, n == len(p))
	if n > 0 || err == nil {
		return n, nil
	}
	if err != io.EOF {
		return 0, fmt.Errorf("read from %s: %w: %w", c.cmd.Path, errChild, err)
	}
	return 0, c.end()
}

// end reaps the child. It does not wait for the feeder of a child that failed,
// which may be waiting for more data.
func (c *childReader) end() error {
	if c.ended {
		return c.err
	}
	c.ended = true
	switch err := c.cmd.Wait(); {
	case err == nil:
		c.feeder.Wait()
		c.err = io.EOF
	case c.ctxErr() != nil:
		c.err = fmt.Errorf("%s: %w: %w", c.cmd.Path, errChild, c.ctxErr())
	default:
		c.err = childError(c.cmd.Path, err, c.said, c.judge)
	}
	return c.err
}

func (c *childReader) Close() error {
	if !c.ended {
		// It may just have ended by itself.
		_ = c.cmd.Process.Kill()
		_ = c.end()
	}
	err := c.out.Close()
	c.feeder.Wait()
	return err
}

// childError says how a child ended and why.
func childError(path string, err error, said *message, judge func(string) error) error {
	text := said.String()
	if text == "" {
		return fmt.Errorf("%s: %w: %w", path, errChild, err)
	}
	return fmt.Errorf("%s: %w: %s (%w)", path, judge(text), text, err)
}
