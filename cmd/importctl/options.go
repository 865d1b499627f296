package main

import (
	"errors"
	"fmt"
	"strings"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/images"
	"berth/importd"
	"berth/transfer/compress"

	"github.com/spf13/pflag"
)

// options are those of the command line.
type options struct {
	help, version, introspect bool

	target        bus.Target
	noAskPassword bool

	class    images.Class // empty: none was given
	verify   importd.Verify
	format   compress.Format // empty: by the name of the file
	force    bool
	readOnly bool
	// keepDownload is nil for what is usual for the class.
	keepDownload *bool

	json     cli.JSON
	noLegend bool
}

func (t *tool) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("importctl", pflag.ContinueOnError)
	f.BoolVarP(&t.help, "help", "h", false, "")
	f.BoolVar(&t.version, "version", false, "")
	f.BoolVar(&t.introspect, "introspect-cli", false, "")
	f.Lookup("introspect-cli").Hidden = true
	f.BoolVar(&t.NoPager, "no-pager", false, "")
	f.BoolVar(&t.noLegend, "no-legend", false, "")
	f.BoolVarP(&t.Quiet, "quiet", "q", false, "")
	f.BoolVar(&t.noAskPassword, "no-ask-password", false, "")
	f.VarP(console.Checked(t.setHost), "host", "H", "")
	f.VarP(console.Checked(t.setMachine), "machine", "M", "")
	f.BoolVar(&t.target.User, "user", false, "")
	f.Var(console.Action(func() error { t.target.User = false; return nil }), "system", "")
	f.Lookup("system").NoOptDefVal = "true"
	f.BoolVar(&t.readOnly, "read-only", false, "")
	f.BoolVar(&t.force, "force", false, "")
	f.Var(&t.json, "json", "")
	console.Letter(f, "j", func() error { t.json = t.JSON(); return nil })
	f.Var(console.Checked(t.setVerify), "verify", "")
	f.Var(console.Checked(t.setFormat), "format", "")
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

func (t *tool) setVerify(text string) (err error) {
	t.verify, err = console.Choice(t.Console, text, importd.VerifyNo, importd.VerifyChecksum, importd.VerifySignature)
	return err
}

func (t *tool) setFormat(text string) (err error) {
	t.format, err = console.Choice(t.Console, text, compress.None, compress.XZ, compress.Gzip, compress.Bzip2, compress.Zstd)
	return err
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

// setHost and setMachine take the place of each other.
func (t *tool) setHost(text string) error {
	if text == "" {
		return errors.New("it must be [USER@]HOST")
	}
	t.target.Host, t.target.Container = text, ""
	return nil
}

func (t *tool) setMachine(text string) error {
	if text == "" {
		return errors.New("it must be [USER@]CONTAINER")
	}
	t.target.Host, t.target.Container = "", text
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
