package main

import (
	"context"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/images"
)

// patience is how long a copy may take before it shows how far it is.
const patience = time.Second

func (t *tool) clone(ctx context.Context, args []string) error {
	return t.allowed(ctx, func(d daemon) error {
		options := images.CloneOptions{ReadOnly: t.ReadOnly}
		if console.IsTerminal(t.Stderr) {
			monitor := t.Monitor("Copied:")
			defer monitor.End()
			options.Progress = showCopied(monitor, time.Now().Add(patience))
		}
		return step("clone the image", d.Clone(ctx, args[0], args[1], options))
	})
}

// showCopied shows from some time on how far a copy is: as a share where it is known how much there is to copy.
func showCopied(monitor *console.Monitor, from time.Time) func(copied, total int64) {
	return func(copied, total int64) {
		switch {
		case time.Now().Before(from):
		case total > 0:
			monitor.Set(float64(copied) / float64(total))
		default:
			monitor.Count(cli.FormatBytes(uint64(max(copied, 0))))
		}
	}
}
