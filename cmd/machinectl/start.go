package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
	"berth/images"
	"berth/machined"
)

// starter is a machined that starts machines itself.
type starter interface {
	Start(ctx context.Context, name string) error
}

var _ starter = (*machineapi.Client)(nil)

// booted is there on a host whose init is systemd.
const booted = "/run/systemd/system"

// hasUnits says whether a service manager starts the machines of the target.
func (t *tool) hasUnits() bool {
	if !t.Target.Local() {
		return true
	}
	info, err := os.Lstat(booted)
	return err == nil && info.IsDir()
}

// start starts machines: by the service manager, or one after the other by
// machined where there is none.
func (t *tool) start(ctx context.Context, names []string) error {
	return t.allowed(ctx, func(d daemon) error {
		if t.hasUnits() {
			return t.startUnits(ctx, d, names)
		}
		s, ok := d.(starter)
		switch {
		case !ok:
			return errors.New("machines are started by a service manager, and there is none on this host")
		case t.runner == runnerVM:
			return errors.New("virtual machines are not started without a service manager so far")
		}
		for _, name := range names {
			if err := missingImage(name, s.Start(ctx, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tool) startUnits(ctx context.Context, d daemon, names []string) error {
	units, err := t.unitsOf(ctx, d, names)
	if err != nil {
		return err
	}
	return t.managing(ctx, d, func(c *machineapi.BusClient) error { return c.StartUnits(ctx, units) })
}

// managing calls a function with the service manager of the target.
func (t *tool) managing(ctx context.Context, d daemon, do func(*machineapi.BusClient) error) (err error) {
	if c, ok := d.(*machineapi.BusClient); ok {
		return do(c)
	}
	c, err := t.dialBus(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return do(c)
}

// The runners of machines, as their units are called.
const (
	runnerContainer = "nspawn"
	runnerVM        = "vmspawn"
)

// unitsOf returns the units that run machines of which there are images.
func (t *tool) unitsOf(ctx context.Context, d daemon, names []string) (units []string, err error) {
	runner := t.runner
	if runner == "" {
		runner = runnerContainer
	}
	for _, name := range names {
		if err := machined.ValidName(name); err != nil {
			return nil, fmt.Errorf("invalid machine name '%s'", name)
		}
		if _, err := d.ImageProperties(ctx, name); err != nil {
			return nil, missingImage(name, err)
		}
		// A machine's name is its own escaped form.
		units = append(units, "systemd-"+runner+"@"+name+".service")
	}
	return units, nil
}

func missingImage(name string, err error) error {
	if errors.Is(err, images.ErrNotFound) {
		return &cli.UsageError{Text: fmt.Sprintf("Machine image '%s' does not exist.", name)}
	}
	return err
}
