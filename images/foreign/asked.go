package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// asked is a process that waits to be asked for work.
type asked struct {
	*Process
	ended chan struct{} // closed when it was waited for
	grace time.Duration // how long it may take to stop what it was doing
}

// errSilent says that a process neither works nor ends.
var errSilent = errors.New("the process that works on the tree does not answer")

// work asks for one thing to be done to trees, and waits for it.
func (a *asked) work(ctx context.Context, m message, trees []*os.File) (err error) {
	var mounts []*os.File
	defer func() { err = errors.Join(err, closeAll(mounts)) }()
	for _, tree := range trees {
		mount, err := a.Mount(ctx, tree)
		if err != nil {
			return err
		}
		mounts = append(mounts, mount)
	}
	return a.ask(ctx, m, mounts)
}

// ask sends a request and waits for its answer. When ctx ends, the process is asked to stop, and killed if it does not.
func (a *asked) ask(ctx context.Context, m message, files []*os.File) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := send(a.conn, m, files...); err != nil {
		return fmt.Errorf("ask for work on a tree: %w", err)
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_ = send(a.conn, message{Verb: verbStop})           // gone: then receive sees that
		_ = a.conn.SetReadDeadline(time.Now().Add(a.grace)) // nor can this fail but for that
	})
	answer, files, err := receive(a.conn)
	if !stop() {
		<-told
		_ = a.conn.SetReadDeadline(time.Time{})
	}
	err = errors.Join(err, closeAll(files))
	switch {
	case err == nil && answer.err() != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return answer.err()
	}
	_ = a.OS.Kill() // ended already: that is the aim
	switch {
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), errSilent)
	case errors.Is(err, io.EOF):
		return errors.New("the process that works on the tree has ended")
	}
	return fmt.Errorf("%w: %w", errSilent, err)
}

// end ends the process and waits for that, but not for ever: it may wait for a disk that is dead.
func (a *asked) end() error {
	_ = a.OS.Kill() // ended already: that is the aim
	err := a.Close()
	select {
	case <-a.ended:
		return err
	case <-time.After(a.grace):
	}
	select {
	case <-a.ended: // both came to pass before anybody looked
		return err
	default:
		return errors.Join(err, errSilent)
	}
}

// environment passes on what concerns a test binary, which stands in for the program.
func environment(all []string) []string {
	out := []string{"GOMAXPROCS=1"}
	for _, e := range all {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "BERTH_TEST_") || name == "GOCOVERDIR" || name == "GORACE" {
			out = append(out, e)
		}
	}
	return out
}
