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
}

// ParseOptions reads a daemon's command line, args[0] being its name. If it only
// asks for help or the version, that is written to out and done is true. more adds
// options that only this daemon has.
func ParseOptions(
	name, version string, args []string, out io.Writer, more ...func(*pflag.FlagSet),
) (o Options, done bool, err error) {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprintf(out, "Usage: %s [OPTIONS]\n\nStays in the foreground, logs to standard error, ends on SIGTERM.\n\n%s",
			name, flags.FlagUsages())
	}
	flags.IntVar(&o.Group, "group", polkit.NoGroup, "let members of the group with this `gid` do what root may")
	flags.Lookup("group").DefValue = "0" // hides what stands for none, which nobody types
	for _, add := range more {
		add(flags)
	}
	showVersion := flags.Bool("version", false, "show the version and end")
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, pflag.ErrHelp):
		return o, true, nil
	case err != nil:
		return o, false, err
	case flags.NArg() > 0:
		return o, false, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *showVersion:
		fmt.Fprintf(out, "berth %s %s\n", name, version)
		return o, true, nil
	}
	return o, false, nil
}
