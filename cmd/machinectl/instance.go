package main

import (
	"context"
	"errors"

	"berth/cmd/internal/machineapi"
)

// controlling calls a function with what controls a machine. It does nothing if
// nothing does, or if that cannot be told: only machined of this host can be
// asked, and only over Varlink.
func (t *tool) controlling(ctx context.Context, name string, do func(*machineapi.Instance) error) (err error) {
	if !t.Target.Local() {
		return nil
	}
	address, err := t.controlAddress(ctx, name)
	if err != nil || address == "" {
		return err
	}
	instance, err := machineapi.DialInstance(ctx, name, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, instance.Close()) }()
	return do(instance)
}

func (t *tool) controlAddress(ctx context.Context, name string) (address string, err error) {
	client, err := t.dialVarlink(ctx)
	if err != nil {
		return "", nil //nolint:nilerr // then machined is asked to do it over D-Bus
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	address, err = client.ControlAddress(ctx, name)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", nil //nolint:nilerr // an old machined, or what it is asked next will tell
	}
	return address, nil
}
