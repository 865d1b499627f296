// Package errand has a process of its own do a job that may never end: a file
// system that is foreign, or behind a server that is, can hold whoever looks into
// it for as long as it likes.
//
// The process is this program started anew under another name. Its main knows it
// by that and calls [Receive] and [Reply]. It inherits nothing but the files that
// it is given: its environment is empty, what it says is bounded, and what it
// answers is data of this program. It ends when the one who sent it does not want
// the answer any more, or has ended.
package errand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

var (
	// ErrHangs says that the process waits in the kernel for what never comes, and
	// cannot even be killed. It ends when that comes, and nobody waits for it.
	ErrHangs = errors.New("it hangs in the kernel")
	// ErrStalled says that the process did nothing for [Errand.Stall].
	ErrStalled = errors.New("nothing has happened for too long")
)

const (
	// killLimit is how long a killed process may take to end.
	killLimit = 2 * time.Second
	// maxWords is how much is kept of what the process says before it dies, in bytes.
	maxWords = 4 << 10
)

// Errand is a job for a process of its own.
type Errand struct {
	// Name is argument 0 of the process.
	Name string
	// Request is what it is to do, as JSON.
	Request any
	// Files are those that [File] returns there. They stay the caller's.
	Files []*os.File
	// Attr, if set, says how the process is made.
	Attr *syscall.SysProcAttr
	// MaxAnswer bounds the answer, in bytes of JSON.
	MaxAnswer int
	// Grace is how long the process may clean up behind itself when nobody wants
	// the answer any more; then it is killed.
	Grace time.Duration
	// Stall, if set, ends a process that neither reads, writes nor computes for as
	// long.
	Stall time.Duration
	// Known are errors that keep their identity on the way to the caller: the same
	// list as the process has for [Reply].
	Known []error
	// Ended, if set, is called once when the process is gone or could not be
	// started. That may be after Run has returned, see [ErrHangs].
	Ended func()
}

// Run starts the process and waits for its answer, or until ctx ends. It returns
// the error that the process answered, [ErrHangs], [ErrStalled], the cause of
// ctx's end, or what the process said when it died.
func (e Errand) Run(ctx context.Context, answer any) error {
	if err := ctx.Err(); err != nil {
		e.ended()
		return context.Cause(ctx)
	}
	p, err := e.start()
	if err != nil {
		e.ended()
		return fmt.Errorf("start %s: %w", e.Name, err)
	}
	if err := p.await(ctx, e); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	err = p.answer(e, answer)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}

func (e Errand) ended() {
	if e.Ended != nil {
		e.Ended()
	}
}

// process is an errand under way.
type process struct {
	cmd        *exec.Cmd
	order      *os.File // the request; closed when the answer is not wanted any more
	out, words *limited // not to be read before done
	done       chan error
}

func (e Errand) start() (_ *process, err error) {
	request, err := json.Marshal(e.Request)
	if err != nil {
		return nil, err
	}
	in, order, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	p := &process{order: order, out: &limited{max: e.MaxAnswer}, words: &limited{max: maxWords}, done: make(chan error, 1)}
	// Its end is that of the request, or await's.
	p.cmd = exec.CommandContext(context.Background(), "/proc/self/exe") //nolint:contextcheck // see above
	p.cmd.Args, p.cmd.Env, p.cmd.Dir = []string{e.Name}, environment(os.Environ()), "/"
	p.cmd.ExtraFiles, p.cmd.SysProcAttr = e.Files, e.Attr
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, p.out, p.words
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, order.Close())
	}
	// A pipe may hold less. Where this does not succeed the process has ended, or the
	// order has been closed: await tells why.
	go func() { _, _ = order.Write(request) }()
	go func() {
		err := p.cmd.Wait()
		e.ended()
		p.done <- err
	}()
	return p, nil
}

// environment passes on what concerns a test binary, which stands in for the
// daemon's.
func environment(all []string) []string {
	out := []string{"GOMAXPROCS=1"}
	for _, e := range all {
		if name, _, _ := strings.Cut(e, "="); name == "GOCOVERDIR" || name == "GORACE" {
			out = append(out, e)
		}
	}
	return out
}

// answer decodes what the process answered.
func (p *process) answer(e Errand, into any) error {
	var got reply
	if err := json.Unmarshal(p.out.buffer.Bytes(), &got); err != nil {
		return fmt.Errorf("answer of %s: %w", e.Name, err)
	}
	if got.Failure != nil {
		return got.Failure.of(e.Known)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(got.Answer, into); err != nil {
		return fmt.Errorf("answer of %s: %w", e.Name, err)
	}
	return nil
}

// limited keeps the first bytes and fails beyond. The buffer is no part of it that
// others see: they would read into that without a limit.
type limited struct {
	buffer bytes.Buffer
	max    int
	full   bool // it was too little
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.max-l.buffer.Len() {
		l.full = true
		return 0, io.ErrShortBuffer
	}
	return l.buffer.Write(p)
}
