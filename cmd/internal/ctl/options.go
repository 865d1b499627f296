// Package ctl is what the mains of machinectl and importctl share: the options that
// both have, how a run begins, and who is asked for a password.
package ctl

import (
	"errors"
	"strings"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/importd"
	"berth/machined"
	"berth/transfer/compress"

	"github.com/spf13/pflag"
)

// Options are those that both tools have. Their meaning is the same in both, so that
// one can pass them on to the other.
type Options struct {
	// Help, Version and Introspect ask for no more than a text about the tool.
	Help, Version, Introspect bool

	// Target is whose daemon is meant.
	Target        bus.Target
	NoAskPassword bool

	AsJSON   cli.JSON
	NoLegend bool

	Force    bool
	ReadOnly bool
	// Verify and Format are empty if they were not given.
	Verify importd.Verify
	Format compress.Format
}

// Invocation is one run of one of them.
type Invocation struct {
	*console.Console
	Options
}

// New returns a run with no options.
func New(c *console.Console) Invocation { return Invocation{c, Options{AsJSON: cli.JSONOff}} }

// AddFlags adds the options to those of a tool.
func (t *Invocation) AddFlags(f *pflag.FlagSet) {
	f.BoolVarP(&t.Help, "help", "h", false, "")
	f.BoolVar(&t.Version, "version", false, "")
	f.BoolVar(&t.Introspect, "introspect-cli", false, "")
	f.Lookup("introspect-cli").Hidden = true
	f.BoolVar(&t.NoPager, "no-pager", false, "")
	f.BoolVar(&t.NoLegend, "no-legend", false, "")
	f.BoolVarP(&t.Quiet, "quiet", "q", false, "")
	f.BoolVar(&t.NoAskPassword, "no-ask-password", false, "")
	f.VarP(console.Checked(t.setHost), "host", "H", "")
	f.VarP(console.Checked(t.setMachine), "machine", "M", "")
	f.BoolVar(&t.Target.User, "user", false, "")
	f.Var(console.Action(func() error { t.Target.User = false; return nil }), "system", "")
	f.Lookup("system").NoOptDefVal = "true"
	f.Var(&t.AsJSON, "json", "")
	console.Letter(f, "j", func() error { t.AsJSON = t.JSON(); return nil })
	f.BoolVar(&t.ReadOnly, "read-only", false, "")
	f.BoolVar(&t.Force, "force", false, "")
	f.Var(console.Checked(t.setVerify), "verify", "")
	f.Var(console.Checked(t.setFormat), "format", "")
}

// setHost and setMachine take the place of each other.
func (t *Invocation) setHost(text string) error {
	if text == "" || strings.HasPrefix(text, "-") {
		return errors.New("it must be [USER@]HOST")
	}
	t.Target.Host, t.Target.Container = text, ""
	return nil
}

func (t *Invocation) setMachine(text string) error {
	_, name, given := strings.Cut(text, "@")
	if !given {
		name = text
	}
	if name != machined.HostName && (!given || name != "") && machined.ValidName(name) != nil {
		return errors.New("it must be [USER@]MACHINE")
	}
	t.Target.Host, t.Target.Container = "", text
	return nil
}

func (t *Invocation) setVerify(text string) (err error) {
	t.Verify, err = console.Choice(t.Console, text, importd.VerifyNo, importd.VerifyChecksum, importd.VerifySignature)
	return err
}

func (t *Invocation) setFormat(text string) (err error) {
	t.Format, err = console.Choice(t.Console, text, compress.None, compress.XZ, compress.Gzip, compress.Bzip2, compress.Zstd)
	return err
}

// TargetOptions lead another run to the same daemon.
func (o Options) TargetOptions() (args []string) {
	if o.Target.User {
		args = append(args, "--user")
	}
	if o.Target.Host != "" {
		args = append(args, "--host="+o.Target.Host)
	}
	if o.Target.Container != "" {
		args = append(args, "--machine="+o.Target.Container)
	}
	return args
}
