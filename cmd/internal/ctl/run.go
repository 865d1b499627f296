package ctl

import (
	"context"
	"fmt"
	"os"

	"berth/cmd/internal/agent"
	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"

	"github.com/spf13/pflag"
)

// Command is what a tool can be told to do.
type Command struct {
	Version string
	// Flags are all options, those of [Invocation.AddFlags] included.
	Flags *pflag.FlagSet
	// End says where options end; nil: only at "--". See [cli.ParseOptions].
	End   func(positional []string) bool
	Verbs []cli.Verb
	// Help and Describe tell what there is, people and programs.
	Help     func(ctx context.Context, args []string) error
	Describe func() error
}

// Run reads the options and does what is asked for.
func (t *Invocation) Run(ctx context.Context, c Command, args []string) error {
	positional, err := cli.ParseOptions(c.Flags, args, c.End)
	switch {
	case err != nil:
		return err
	case t.Listed:
		return nil
	case t.Help:
		return c.Help(ctx, nil)
	case t.Introspect:
		return c.Describe()
	case t.Version:
		_, err := fmt.Fprintln(t.Stdout, "berth", t.Tool, c.Version)
		return err
	}
	verb, rest, err := cli.FindVerb(c.Verbs, positional)
	if err != nil {
		return err
	}
	return verb.Run(ctx, rest)
}

// Asking calls a function while passwords are asked for on the terminal, where the
// daemon may want one.
func (t *Invocation) Asking(ctx context.Context, do func() error) error {
	if t.NoAskPassword || !t.Target.Local() || t.Target.User || os.Geteuid() == 0 || !console.IsTerminal(t.Stdin) {
		return do()
	}
	stop, err := agent.Start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return do()
}

// ShowTable prints a list of things as the options say.
func (t *Invocation) ShowTable(ctx context.Context, table *cli.Table, things string) error {
	return t.Show(ctx, console.List{Table: table, Things: things, JSON: t.AsJSON, NoLegend: t.NoLegend})
}
