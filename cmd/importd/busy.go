package main

import (
	"context"

	"berth/cmd/internal/daemon"
	"berth/importd"
)

// keepBusy holds the daemon for as long as transfers run.
func keepBusy(manager *importd.Manager, idle *daemon.Idle) func(context.Context) error {
	events := manager.Subscribe()
	return func(ctx context.Context) error {
		defer events.Close()
		running := map[uint32]func(){}
		for {
			e, err := events.Next(ctx)
			if err != nil {
				return nil // the daemon is ending
			}
			switch e.Kind {
			case importd.EventNew:
				running[e.Transfer.ID] = idle.Hold()
			case importd.EventRemoved:
				if release, ok := running[e.Transfer.ID]; ok {
					release()
					delete(running, e.Transfer.ID)
				}
			case importd.EventLog, importd.EventProgress:
			}
		}
	}
}
