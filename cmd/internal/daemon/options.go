package daemon

import (
	"errors"
	"fmt"
	"io"

	"berth/cmd/internal/polkit"

	"github.com/spf13/pflag"
)

// Options are those that both daemons have.
type Options struct {
	// Group is the id of the group whose members may do what root may.
	Group int
	// User is for what is one user's instead of the system's.
	User bool
}

// Local decides about callers where there is no polkit.
func (o Options) Local() polkit.Local { return polkit.Local{Group: o.Group} }

// ParseOptions reads a daemon's command line, args[0] being its name. If it only
// asks for help or the version, that is written to out and done is true. does is what
// the daemon does, as "serve the images"; more adds options that only this one has.
func (p Program) ParseOptions(
	args []string, out io.Writer, does string, more func(*pflag.FlagSet),
) (o Options, done bool, err error) {
	flags := pflag.NewFlagSet(p.Name, pflag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprintf(out, "Usage: %s [OPTIONS]\n\nStays in the foreground, logs to standard error, ends on SIGTERM.\n\n%s",
			p.Name, flags.FlagUsages())
	}
	flags.IntVar(&o.Group, "group", polkit.NoGroup, "let members of the group with this `gid` do what root may")
	flags.Lookup("group").DefValue = "0" // hides what stands for none, which nobody types
	flags.BoolVar(&o.User, "user", false, does+" of the user who runs it")
	flags.BoolFunc("system", does+" of the system (default)", func(string) error { o.User = false; return nil })
	more(flags)
	showVersion := flags.Bool("version", false, "show the version and end")
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, pflag.ErrHelp):
		return o, true, nil
	case err != nil:
		return o, false, err
	case flags.NArg() > 0:
		return o, false, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *showVersion:
		fmt.Fprintf(out, "berth %s %s\n", p.Name, p.Version)
		return o, true, nil
	}
	return o, false, nil
}
