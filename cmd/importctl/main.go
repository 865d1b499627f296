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
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
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
	*console.Console
	options
}

func run(ctx context.Context, c *console.Console, args []string) error {
	t := &tool{Console: c, options: options{json: cli.JSONOff}}
	positional, err := cli.ParseOptions(t.flags(), args, nil)
	switch {
	case err != nil:
		return err
	case t.Listed:
		return nil
	case t.help:
		return t.showHelp(ctx, nil)
	case t.introspect:
		return t.describe()
	case t.version:
		_, err := fmt.Fprintln(c.Stdout, "berth importctl", version)
		return err
	}
	verb, rest, err := cli.FindVerb(t.verbs(), positional)
	if err != nil {
		return err
	}
	return verb.Run(ctx, rest)
}
