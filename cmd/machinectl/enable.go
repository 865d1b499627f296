package main

import (
	"context"
	"errors"
	"fmt"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

// machinesTarget is what machines are started with at boot.
const machinesTarget = "machines.target"

// enable has machines started at boot, and with --now at once.
func (t *tool) enable(ctx context.Context, names []string) error {
	return t.atBoot(ctx, names, func(d daemon, units []string) error {
		err := t.managing(ctx, d, func(c *machineapi.BusClient) error {
			changes, err := c.EnableUnits(ctx, append([]string{machinesTarget}, units...))
			t.reportChanges(changes)
			return err
		})
		if err != nil || !t.now {
			return err
		}
		return t.startUnits(ctx, d, names)
	})
}

// disable undoes enable, and with --now powers machines off.
func (t *tool) disable(ctx context.Context, names []string) error {
	return t.atBoot(ctx, names, func(d daemon, units []string) error {
		err := t.managing(ctx, d, func(c *machineapi.BusClient) error {
			changes, err := c.DisableUnits(ctx, units)
			t.reportChanges(changes)
			return err
		})
		if err != nil || !t.now {
			return err
		}
		for _, name := range names {
			if err := t.order(ctx, d, name, orderPowerOff); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tool) atBoot(ctx context.Context, names []string, do func(daemon, []string) error) error {
	if !t.hasUnits() {
		return errors.New("it needs a service manager that starts machines at boot, and there is none on this host")
	}
	return t.allowed(ctx, func(d daemon) error {
		units, err := t.unitsOf(ctx, d, names)
		if err != nil {
			return err
		}
		return do(d, units)
	})
}

// reportChanges says which links were made and removed.
func (t *tool) reportChanges(changes []machineapi.UnitChange) {
	for _, c := range changes {
		file, source := cli.Printable(c.File), cli.Printable(c.Source)
		switch {
		case c.Type != "symlink" && c.Type != "unlink":
			fmt.Fprintf(t.Stderr, "%s: %s\n", file, cli.Printable(c.Type))
		case t.Quiet:
		case c.Type == "symlink":
			fmt.Fprintf(t.Stderr, "Created symlink '%s' → '%s'.\n", file, source)
		default:
			fmt.Fprintf(t.Stderr, "Removed '%s'.\n", file)
		}
	}
}
