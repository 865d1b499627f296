// Command importctl brings images of operating systems into this host's image
// directories and takes them out again, by way of importd.
//
// One run, from the command line to the answer: main reads the options
// (options.go), finds the verb (verbs.go), whose method checks its arguments and
// calls importd (pull.go, import.go, export.go); follow.go shows what importd
// reports until the transfer is over. How importd is reached is in daemon.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"berth/cmd/internal/console"
	"berth/cmd/internal/ctl"
)

// version is set by the build.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	c := console.New("importctl")
	status := c.Fail(run(ctx, c, os.Args[1:]))
	stop()
	os.Exit(status)
}

// tool is one run of importctl.
type tool struct {
	ctl.Invocation
	options
}

func run(ctx context.Context, c *console.Console, args []string) error {
	t := &tool{Invocation: ctl.New(c)}
	return t.Run(ctx, ctl.Command{
		Version: version, Flags: t.flags(), Verbs: t.verbs(), Help: t.showHelp, Describe: t.describe,
	}, args)
}
