package main

import (
	"context"
	"errors"
	"io"
	"time"

	"berth/cmd/internal/machineapi"
)

// showMachines prints the properties of machines, or of machined.
func (t *tool) showMachines(ctx context.Context, names []string) error {
	return t.connected(ctx, func(d daemon) error { return t.showEach(ctx, d, names, d.MachineProperties) })
}

// showImages prints the properties of images, or of machined.
func (t *tool) showImages(ctx context.Context, names []string) error {
	return t.connected(ctx, func(d daemon) error { return t.showEach(ctx, d, names, d.ImageProperties) })
}

// showEach prints what was found before the first failure.
func (t *tool) showEach(ctx context.Context, d daemon, names []string,
	properties func(context.Context, string) ([]machineapi.Property, error),
) error {
	if len(names) == 0 {
		list, err := t.managerProperties(ctx, d)
		if err != nil {
			return err
		}
		return t.Page(ctx, func(w io.Writer) error { return t.printProperties(w, formatProperties(list, time.Local)) })
	}
	var lists [][]property
	var failed error
	for _, name := range names {
		list, err := properties(ctx, name)
		if failed = err; err != nil {
			break
		}
		lists = append(lists, formatProperties(list, time.Local))
	}
	return errors.Join(t.Page(ctx, func(w io.Writer) error { return t.objects(w, lists) }), failed)
}

// managerProperties asks over D-Bus where there is a bus: over Varlink machined
// does not tell what the pool of images uses and may use.
func (t *tool) managerProperties(ctx context.Context, d daemon) ([]machineapi.Property, error) {
	if _, there := d.(*machineapi.BusClient); there {
		return d.ManagerProperties(ctx)
	}
	if bus, err := t.dialBus(ctx); err == nil {
		list, err := bus.ManagerProperties(ctx)
		if err = errors.Join(err, bus.Close()); err == nil {
			return list, nil
		}
	}
	return d.ManagerProperties(ctx)
}
