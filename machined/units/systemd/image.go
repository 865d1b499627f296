package systemd

import (
	"context"
	"errors"
	"fmt"

	"berth/machined"
)

// StartImage implements [machined.ImageStarter] with the template for
// containers, which the host's administrator may have changed.
func (b *Backend) StartImage(ctx context.Context, machine string) error {
	name := "systemd-nspawn@" + machine + ".service"
	before, err := b.look(ctx, name)
	if err != nil && !hasName(err, noSuchUnit) {
		return fmt.Errorf("look at unit %s: %w", name, err)
	}
	if before == "active" || before == "activating" {
		return fmt.Errorf("%w: unit %s is %s", machined.ErrMachineExists, name, before)
	}
	err = b.bring(ctx, name, "StartUnit", name, "fail")
	if errors.Is(err, machined.ErrJobFailed) {
		err = fmt.Errorf("%w: see journalctl --unit=%s", machined.ErrStartFailed, name)
	}
	if err != nil && ctx.Err() != nil {
		// Nobody waits for it any more.
		err = errors.Join(err, b.call(context.WithoutCancel(ctx), "StopUnit", name, "replace").Err)
	}
	return err
}
