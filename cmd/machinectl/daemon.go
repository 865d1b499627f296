package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/console"
	"berth/cmd/internal/machineapi"
	"berth/images"
	"berth/machined"
)

// daemon is machined, ours over Varlink or any over D-Bus.
type daemon interface {
	machineReader
	machineController
	sessionOpener
	fileMover
	imageReader
	imageChanger
	imageLimiter
	io.Closer
}

type machineReader interface {
	Machines(ctx context.Context) ([]machineapi.Machine, error)
	Describe(ctx context.Context, name string) (machineapi.Description, error)
	Registered(ctx context.Context, name string) (machineapi.Machine, error)
	MachineProperties(ctx context.Context, name string) ([]machineapi.Property, error)
	ManagerProperties(ctx context.Context) ([]machineapi.Property, error)
}

type machineController interface {
	Terminate(ctx context.Context, name string) error
	Unregister(ctx context.Context, name string) error
	Kill(ctx context.Context, name string, whom machined.KillWhom, sig syscall.Signal) error
}

type sessionOpener interface {
	Open(ctx context.Context, s machineapi.Session) (*os.File, error)
	Removal(ctx context.Context, name string) (<-chan struct{}, error)
}

type fileMover interface {
	Copy(ctx context.Context, f machineapi.Files) error
	Bind(ctx context.Context, b machineapi.Bind) error
}

type imageReader interface {
	Images(ctx context.Context) ([]machineapi.Image, error)
	Image(ctx context.Context, name string) (machineapi.Image, error)
	ImageProperties(ctx context.Context, name string) ([]machineapi.Property, error)
}

type imageChanger interface {
	Clone(ctx context.Context, name, newName string, options images.CloneOptions) error
	Rename(ctx context.Context, name, newName string) error
	SetReadOnly(ctx context.Context, name string, readOnly bool) error
	Remove(ctx context.Context, name string) error
}

type imageLimiter interface {
	SetLimit(ctx context.Context, name string, limit uint64) error
	SetPoolLimit(ctx context.Context, limit uint64) error
	Clean(ctx context.Context, all bool) ([]images.Removed, error)
}

var (
	_ daemon = (*machineapi.Client)(nil)
	_ daemon = (*machineapi.BusClient)(nil)
)

// connected calls a function with machined, for what needs no more rights than
// anybody has.
func (t *tool) connected(ctx context.Context, do func(daemon) error) (err error) {
	d, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(d)
}

// dial prefers Varlink where machined does everything over it.
func (t *tool) dial(ctx context.Context) (daemon, error) {
	if !t.Target.Local() {
		return t.dialBus(ctx)
	}
	client, err := t.dialVarlink(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		overBus, busErr := t.dialBus(ctx) // machined may be started by a call
		if errors.Is(busErr, bus.ErrNoBus) {
			socket, _ := t.Target.Runtime(machineapi.Socket)
			return nil, console.Unreachable("machined", socket, err)
		}
		return overBus, busErr
	}
	if err != nil {
		return nil, err
	}
	ours, err := client.Offers(ctx)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	if ours {
		return client, nil
	}
	overBus, err := t.dialBus(ctx)
	if errors.Is(err, bus.ErrNoBus) {
		return struct{ daemon }{client}, nil // without what is ours alone
	}
	return overBus, errors.Join(err, client.Close())
}

func (t *tool) dialVarlink(ctx context.Context) (*machineapi.Client, error) {
	socket, err := t.Target.Runtime(machineapi.Socket)
	if err != nil {
		return nil, err
	}
	client, err := machineapi.Dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	client.Interactive, client.User = !t.NoAskPassword, t.Target.User
	return client, nil
}

func (t *tool) dialBus(ctx context.Context) (*machineapi.BusClient, error) {
	client, err := machineapi.DialBus(ctx, t.Target)
	if err != nil {
		return nil, err
	}
	client.Interactive = !t.NoAskPassword
	return client, nil
}

// allowed is connected for what may need a password: somebody is there to ask
// for it.
func (t *tool) allowed(ctx context.Context, do func(daemon) error) error {
	return t.Asking(ctx, func() error { return t.connected(ctx, do) })
}

// each does the same to several names and stops at the first failure.
func (t *tool) each(do func(context.Context, daemon, string) error) func(context.Context, []string) error {
	return func(ctx context.Context, names []string) error {
		return t.allowed(ctx, func(d daemon) error {
			for _, name := range names {
				if err := do(ctx, d, name); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// step says what was being done where machined does not: the stock one often
// gives the text of an error number and no more.
func step(what string, err error) error {
	_, call := errors.AsType[*machineapi.CallError](err)
	//nolint:errorlint // an error number with words around it says more
	if _, bare := err.(syscall.Errno); bare || call {
		return fmt.Errorf("%s: %w", what, err)
	}
	return err
}
