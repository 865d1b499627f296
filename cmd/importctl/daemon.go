package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"syscall"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/console"
	"berth/cmd/internal/importapi"
	"berth/images"
)

// daemon is importd: ours over Varlink, or any over D-Bus.
type daemon interface {
	starter
	lister
	Cancel(ctx context.Context, id uint32) error
	io.Closer
}

// starter starts transfers and yields what they report until they are over.
type starter interface {
	Pull(ctx context.Context, p importapi.PullParameters) iter.Seq2[importapi.Update, error]
	PullOCI(ctx context.Context, p importapi.OCIParameters) iter.Seq2[importapi.Update, error]
	Import(ctx context.Context, p importapi.ImportParameters, file *os.File) iter.Seq2[importapi.Update, error]
	Export(ctx context.Context, p importapi.ExportParameters, file *os.File) iter.Seq2[importapi.Update, error]
}

// lister lists things of a class, or of all if it is empty.
type lister interface {
	ListTransfers(ctx context.Context, class images.Class) ([]importapi.Transfer, error)
	ListImages(ctx context.Context, class images.Class) ([]importapi.Image, error)
}

var (
	_ daemon = (*importapi.Client)(nil)
	_ daemon = (*importapi.BusClient)(nil)
)

// connected calls a function with importd. Interrupting the tool ends what the
// function waits for, but not the connection, which may lead through a program.
func (t *tool) connected(ctx context.Context, do func(daemon) error) (err error) {
	d, err := t.dial(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(d)
}

// dial prefers Varlink where importd does everything over it.
func (t *tool) dial(ctx context.Context) (daemon, error) {
	if !t.Target.Local() {
		return t.dialBus(ctx)
	}
	socket, err := t.Target.Runtime(importapi.Socket)
	if err != nil {
		return nil, err
	}
	client, err := importapi.Dial(ctx, socket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		d, busErr := t.dialBus(ctx) // importd may be started by a call
		if errors.Is(busErr, bus.ErrNoBus) {
			return nil, console.Unreachable("importd", socket, err)
		}
		return d, busErr
	}
	if err != nil {
		return nil, err
	}
	client.Interactive = !t.NoAskPassword
	switch ours, err := client.Ours(ctx); {
	case err != nil:
		return nil, errors.Join(err, client.Close())
	case ours:
		return client, nil
	}
	if err := client.Close(); err != nil {
		return nil, err
	}
	return t.dialBus(ctx)
}

func (t *tool) dialBus(ctx context.Context) (daemon, error) {
	client, err := importapi.DialBus(ctx, t.Target)
	if err != nil {
		return nil, err
	}
	client.Interactive = !t.NoAskPassword
	return client, nil
}

// allowed is connected for what may need a password: somebody is there to ask for
// it.
func (t *tool) allowed(ctx context.Context, do func(daemon) error) error {
	return t.Asking(ctx, func() error { return t.connected(ctx, do) })
}
