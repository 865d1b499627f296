package main

import (
	"context"

	"berth/cmd/internal/daemon"
	"berth/machined"
)

// keepBusy holds the daemon for as long as there are machines.
func keepBusy(manager *machined.Manager, idle *daemon.Idle) func(context.Context) error {
	changed := make(chan struct{}, 1)
	changed <- struct{}{} // machines of an earlier run are there already
	cancel := manager.Subscribe(func(machined.Event) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	return func(ctx context.Context) error {
		defer cancel()
		release := func() {}
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				release()
				return nil
			}
			before := release
			if release = func() {}; len(manager.List()) > 0 {
				release = idle.Hold()
			}
			before()
		}
	}
}
