package daemon

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// errIdle ends the services of a daemon that has nothing to do.
var errIdle = errors.New("idle")

// busPatience is how long the readiness waits for a bus that does not answer. It is
// well within what the service manager waits for the readiness.
const busPatience = 45 * time.Second

// Program is one of the daemons.
type Program struct {
	Name, Version string

	Log  *Log
	Idle *Idle
}

// Bus serves clients on a message bus, whenever there is one.
type Bus interface {
	Run(ctx context.Context) error
	// Tried is closed when the bus has given the daemon its name, or when there is
	// no such bus now.
	Tried() <-chan struct{}
}

// Run serves the bus, runs all other services, and waits for them. It ends when ctx does, when a service
// fails, or when there has been nothing to do for a while.
//
// The service manager is told that the daemon is ready when its clients find it on
// the bus too: what is started after it may call it there at once.
func (p Program) Run(ctx context.Context, b Bus, services ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, serve := range append(services, b.Run) {
		group.Go(func() error { return serve(ctx) })
	}
	ready := p.Idle.Hold()
	group.Go(func() error {
		defer ready()
		if !awaitBus(ctx, b, busPatience) {
			return nil
		}
		p.Log.Info(p.Name+" is ready", "version", p.Version)
		if err := Ready(); err != nil {
			p.Log.Warn("tell the service manager that we are ready", "error", err)
		}
		ready()
		return Watchdog(ctx)
	})
	group.Go(func() error {
		if p.Idle.Wait(ctx) {
			p.Log.Info("nothing to do, ending")
			return errIdle
		}
		return nil
	})
	err := group.Wait()
	if errors.Is(err, errIdle) {
		err = nil
	}
	return errors.Join(err, Stopping())
}

// awaitBus waits until the bus was tried, but not longer than patience. It returns
// false if ctx ends before.
func awaitBus(ctx context.Context, b Bus, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.Tried():
		return true
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
