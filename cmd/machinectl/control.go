package main

import (
	"context"
	"errors"
	"fmt"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
	"berth/images"
	"berth/machined"
)

// start starts machines one after the other.
func (t *tool) start(ctx context.Context, names []string) error {
	if t.runner == "vmspawn" {
		return errors.New("starting virtual machines is not supported yet: there is no runner for them")
	}
	return t.each(func(ctx context.Context, c *machineapi.Client, name string) error {
		err := c.Start(ctx, name)
		if errors.Is(err, images.ErrNotFound) {
			return &cli.UsageError{Text: fmt.Sprintf("Machine image '%s' does not exist.", name)}
		}
		return err
	})(ctx, names)
}

// powerOff tells the machine's init to power off. It does not wait for it.
func powerOff(ctx context.Context, c *machineapi.Client, name string) error {
	return c.Kill(ctx, name, machined.KillLeader, signalPowerOff)
}

// reboot tells the machine's init to reboot.
func reboot(ctx context.Context, c *machineapi.Client, name string) error {
	return c.Kill(ctx, name, machined.KillLeader, signalReboot)
}

func terminate(ctx context.Context, c *machineapi.Client, name string) error {
	return c.Terminate(ctx, name)
}

func (t *tool) kill(ctx context.Context, c *machineapi.Client, name string) error {
	return c.Kill(ctx, name, t.whom, t.signal)
}
