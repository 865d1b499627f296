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
	"os"
	"os/signal"
	"syscall"

	"berth/cmd/internal/console"
	"berth/cmd/internal/ctl"
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
	ctl.Invocation
	options
}

func newTool(c *console.Console) *tool {
	return &tool{Invocation: ctl.New(c), options: options{maxAddresses: 1, lines: 10, signal: syscall.SIGTERM}}
}

func run(ctx context.Context, c *console.Console, args []string) error {
	t := newTool(c)
	return t.Run(ctx, ctl.Command{
		Version: version, Flags: t.flags(), End: commandFollows, Verbs: t.verbs(), Help: t.showHelp, Describe: t.introspect,
	}, args)
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
