package main

import (
	"context"

	"berth/cmd/internal/daemon"
	"berth/machined"
)

// keepBusy holds the daemon for as long as there are machines.
func keepBusy(manager *machined.Manager, idle *daemon.Idle) func(context.Context) error {
	changed := make(chan struct{}, 1)
	cancel := manager.Subscribe(func(machined.Event) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	// Machines of an earlier run are there already. They count from now on, whenever
	// the rest begins.
	release := func() {}
	look := func() {
		before := release
		if release = func() {}; len(manager.List()) > 0 {
			release = idle.Hold()
		}
		before()
	}
	look()
	return func(ctx context.Context) error {
		defer cancel()
		for {
			select {
			case <-changed:
				look()
			case <-ctx.Done():
				release()
				return nil
			}
		}
	}
}
