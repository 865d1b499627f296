// Command machinectl shows and controls the machines of this host and their
// images, by way of machined.
//
// One run, from the command line to the answer: main reads the options
// (options.go) and finds the verb (verbs.go), whose method calls machined and
// prints what it says: machines in list.go, status.go, show.go and control.go,
// images in images.go and imagestatus.go, commands inside a machine in exec.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/cmd/internal/machineapi"
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
	return &tool{Console: c, options: options{json: cli.JSONOff, maxAddresses: 1, signal: syscall.SIGTERM}}
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
	case t.version:
		_, err := fmt.Fprintln(c.Stdout, "berth machinectl", version)
		return err
	}
	verb, rest, err := cli.FindVerb(t.verbs(), positional)
	if err != nil {
		return err
	}
	if verb.Name != "help" {
		if err := t.elsewhere(); err != nil {
			return err
		}
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

// connected calls a function with a client of machined.
func (t *tool) connected(ctx context.Context, do func(*machineapi.Client) error) (err error) {
	client, err := machineapi.Dial(ctx, machineapi.Socket)
	if err != nil {
		return console.Unreachable("machined", machineapi.Socket, err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return do(client)
}

// each does the same to several names and stops at the first failure.
func (t *tool) each(do func(context.Context, *machineapi.Client, string) error) func(context.Context, []string) error {
	return func(ctx context.Context, names []string) error {
		return t.connected(ctx, func(c *machineapi.Client) error {
			for _, name := range names {
				if err := do(ctx, c, name); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
