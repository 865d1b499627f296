package daemon

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// errIdle ends the services of a daemon that has nothing to do.
var errIdle = errors.New("idle")

// Run tells the service manager that the daemon is ready, runs its services and
// waits for them. It ends when ctx does, when a service fails, or when idle says
// that there is nothing to do.
func Run(ctx context.Context, log *Log, idle *Idle, services ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, serve := range services {
		group.Go(func() error { return serve(ctx) })
	}
	group.Go(func() error { return Watchdog(ctx) })
	group.Go(func() error {
		if idle.Wait(ctx) {
			log.Info("nothing to do, ending")
			return errIdle
		}
		return nil
	})
	if err := Ready(); err != nil {
		log.Warn("tell the service manager that we are ready", "error", err)
	}
	err := group.Wait()
	if errors.Is(err, errIdle) {
		err = nil
	}
	return errors.Join(err, Stopping())
}
