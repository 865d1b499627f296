package importd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"berth/images"
	"berth/transfer"

	"golang.org/x/sys/unix"
)

// pipeSize is what the pipe to the unpacker holds, in bytes: few and large
// exchanges between two processes that share two cores.
const pipeSize = 1 << 20

// receiver is what an unpacker fills: a pending image, or a target of the
// caller's own.
type receiver interface {
	Path() string
	File() *os.File
	// Discard removes what was not finished.
	Discard() error
}

var (
	_ receiver = (*images.Pending)(nil)
	_ receiver = (*target)(nil)
)

// build is an image in the making: what receives it and the process that fills
// that.
type build struct {
	into receiver
	// pending is the receiver unless the transfer is a direct one.
	pending *images.Pending
	// unpacker is nil where there was nothing to unpack.
	unpacker *unpacker
	// stdin feeds the unpacker of a pull; an import's reads the file itself.
	stdin *os.File
	ended bool
}

// newBuild opens the receiver and starts to fill it from stdin.
func (s *stage) newBuild(ctx context.Context, stdin *os.File) (_ *build, err error) {
	b := &build{}
	if s.Request.Direct != nil {
		b.into, err = s.target()
	} else if still := s.snapshot(ctx, stdin); still != nil {
		return &build{into: still, pending: still, ended: true}, nil
	} else {
		b.pending, err = s.newPending(ctx)
		b.into = b.pending
	}
	if err != nil {
		return nil, s.explain(err)
	}
	if b.pending != nil {
		s.report.send(message{Pending: filepath.Base(b.pending.Path())})
	}
	if b.unpacker, err = s.startUnpacker(ctx, stdin, b.into); err != nil {
		return nil, errors.Join(err, b.into.Discard())
	}
	return b, nil
}

// snapshot makes the image of a directory at once, where that is a subvolume on the
// file system of the images; else it returns nil.
func (s *stage) snapshot(ctx context.Context, dir *os.File) *images.Pending {
	if s.Request.Kind != ImportFS || s.NoSubvolumes || s.User {
		return nil
	}
	still, err := images.NewPendingSnapshot(ctx, s.Request.ImageRoot, dir)
	if err != nil {
		return nil // whatever is in the way: a copy tells if it is in its way too
	}
	return still
}

func (s *stage) newPending(ctx context.Context) (*images.Pending, error) {
	switch {
	case !s.Request.Kind.Tree():
		return images.NewPendingFile(s.Request.ImageRoot)
	case s.foreign:
		return images.NewPendingForeign(ctx, s.Request.ImageRoot, s.trees)
	case s.NoSubvolumes:
		return images.NewPendingDirectory(s.Request.ImageRoot)
	}
	return images.NewPendingTree(s.Request.ImageRoot)
}

// startBuild makes a build that is fed through a pipe.
func (p *pulling) startBuild(ctx context.Context) (_ *build, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe to the unpacker: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	// A host that allows less gives a smaller pipe, which only costs speed.
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeSize)
	b, err := p.newBuild(ctx, r)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	b.stdin = w
	return b, nil
}

// feeding returns a context for what feeds the unpacker. It ends when the
// unpacker does: a server that is slow to send must not hide that nobody takes
// what it sends. stop must be called.
func (b *build) feeding(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-b.unpacker.ended:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(); watch.Wait() }
}

// finish ends the feeding and waits for the unpacker. cause is why the feeding
// failed, or nil: a source that failed is the whole story, but a pipe that broke
// or an unpacker that ended before only tells that the unpacker has one to tell.
func (b *build) finish(cause error) error {
	var side *transfer.Error
	broken := errors.As(cause, &side) && side.Side == transfer.Sink
	select {
	case <-b.unpacker.ended:
		broken = true
	default:
	}
	if cause != nil && !broken {
		return errors.Join(cause, b.stop())
	}
	err := b.stdin.Close()
	b.stdin = nil
	b.ended = true
	if waitErr := b.unpacker.wait(); waitErr != nil {
		return &transfer.Error{Side: transfer.Sink, Err: waitErr}
	}
	return errors.Join(cause, err)
}

// wait waits for an unpacker that reads its input itself. When ctx ends, the
// unpacker is ended too.
func (b *build) wait(ctx context.Context) error {
	if b.ended {
		return ctx.Err()
	}
	defer context.AfterFunc(ctx, b.unpacker.kill)()
	b.ended = true
	err := b.unpacker.wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// stop ends the unpacker, whatever it is doing.
func (b *build) stop() (err error) {
	if b.ended {
		return nil
	}
	b.ended = true
	b.unpacker.kill()
	if b.stdin != nil {
		err = b.stdin.Close()
		b.stdin = nil
	}
	_ = b.unpacker.wait() // killed: it has nothing to say
	return err
}

// discard removes what was not committed.
func (b *build) discard() error { return errors.Join(b.stop(), b.into.Discard()) }
