package daemon

import (
	"context"
	"fmt"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog tells the service manager that the daemon is alive, as often as it
// wants to hear it, until ctx ends. It returns at once if it does not.
func Watchdog(ctx context.Context) error {
	limit, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read watchdog settings: %w", err)
	}
	if limit == 0 {
		return nil
	}
	ticker := time.NewTicker(limit / 2)
	defer ticker.Stop()
	for {
		if _, err := sd.SdNotify(false, sd.SdNotifyWatchdog); err != nil {
			return fmt.Errorf("notify watchdog: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
