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
		list, err := d.ManagerProperties(ctx)
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
