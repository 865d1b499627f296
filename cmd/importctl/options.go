package main

import (
	"errors"
	"fmt"
	"strings"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/images"

	"github.com/spf13/pflag"
)

// options are those that machinectl has not.
type options struct {
	class images.Class // empty: none was given
	// keepDownload is nil for what is usual for the class.
	keepDownload *bool
}

func (t *tool) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("importctl", pflag.ContinueOnError)
	t.AddFlags(f)
	f.Var(console.Checked(t.setClass), "class", "")
	for letter, class := range map[string]images.Class{
		"m": images.ClassMachine, "P": images.ClassPortable, "S": images.ClassSysext, "C": images.ClassConfext,
	} {
		console.Letter(f, letter, func() error { t.class = class; return nil })
	}
	f.Var(console.Checked(t.setKeepDownload), "keep-download", "")
	console.Letter(f, "N", func() error { return t.setKeepDownload("no") })
	return f
}

func (t *tool) setClass(text string) (err error) {
	t.class, err = console.Choice(t.Console, text, images.Classes()...)
	return err
}

func (t *tool) setKeepDownload(text string) error {
	keep, ok := cli.ParseBool(text)
	if !ok {
		return errors.New("it must be yes or no")
	}
	t.keepDownload = &keep
	return nil
}

// needClass says that a transfer is of no class, and what there is to choose from.
func (o options) needClass() error {
	if o.class != "" {
		return nil
	}
	pool := images.SystemLocations("").Pool
	letters := map[images.Class]string{
		images.ClassMachine: "-m", images.ClassPortable: "-P", images.ClassSysext: "-S", images.ClassConfext: "-C",
	}
	var choice []string
	for _, class := range images.Classes() {
		choice = append(choice, fmt.Sprintf("%s for --class=%s (%s)", letters[class], class, pool[class]))
	}
	return &cli.UsageError{Text: "The class of the image has to be given: " + strings.Join(choice, ", ") + "."}
}

// keep says whether the download is kept as it came. Only machines change as
// they are used, so that a pristine copy is worth its room.
func (o options) keep() bool {
	if o.keepDownload != nil {
		return *o.keepDownload
	}
	return o.class == images.ClassMachine
}
