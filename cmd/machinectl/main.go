// Command machinectl shows and controls the machines of this host and their
// images, by way of machined.
//
// One run, from the command line to the answer: main reads the options
// (options.go) and finds the verb (verbs.go), whose method calls machined and
// prints what it says: machines in list.go, status.go, show.go, start.go and
// control.go, images in images.go and imagestatus.go, what happens inside a
// machine in exec.go, session.go and copy.go. How machined is reached is in
// daemon.go.
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
	ctx, stop := interruptible()
	c := console.New("machinectl")
	status := c.Fail(run(ctx, c, os.Args[1:]))
	stop()
	os.Exit(status)
}

// interrupted is the cause of the end of a run by a signal.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "interrupted by signal: " + i.signal.String() }

// interruptible returns a context that ends with SIGINT and SIGTERM, for the
// cause [interrupted].
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			cancel(interrupted{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// tool is one run of machinectl.
type tool struct {
	*console.Console
	options
}

func newTool(c *console.Console) *tool {
	return &tool{Console: c, options: options{json: cli.JSONOff, maxAddresses: 1, lines: 10, signal: syscall.SIGTERM}}
}

func run(ctx context.Context, c *console.Console, args []string) error {
	t := newTool(c)
	positional, err := cli.ParseOptions(t.flags(), args, commandFollows)
	switch {
	case err != nil:
		return err
	case t.Listed:
		return nil
	case t.help:
		return t.showHelp(ctx, nil)
	case t.describe:
		return t.introspect()
	case t.version:
		_, err := fmt.Fprintln(c.Stdout, "berth machinectl", version)
		return err
	}
	verb, rest, err := cli.FindVerb(t.verbs(), positional)
	if err != nil {
		return err
	}
	return verb.Run(ctx, rest)
}

// commandFollows says where options end: what stands behind the machine of exec
// and behind the command of shell belongs to that command.
func commandFollows(positional []string) bool {
	switch positional[0] {
	case "exec":
		return len(positional) == 2
	case "shell":
		return len(positional) == 3
	}
	return false
}
