package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/importd"
	"berth/machined"
	"berth/transfer/compress"

	"github.com/spf13/pflag"
)

// options are those of the command line.
type options struct {
	help, version, describe bool

	target bus.Target

	// properties are what show prints; empty: all that are set.
	properties []string
	value      bool
	all        bool

	lines        int    // of the journal
	journalMode  string // of journalctl's output
	full         bool
	maxAddresses int // 0: no column
	json         cli.JSON
	noLegend     bool

	whom   machined.KillWhom
	signal syscall.Signal

	uid         string
	environment []string
	directory   string

	readOnly      bool
	mkdir         bool
	now           bool
	force         bool
	noAskPassword bool
	runner        string
	verify        importd.Verify
	format        compress.Format
}

func (t *tool) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("machinectl", pflag.ContinueOnError)
	f.BoolVarP(&t.help, "help", "h", false, "")
	f.BoolVar(&t.version, "version", false, "")
	f.BoolVar(&t.describe, "introspect-cli", false, "")
	f.Lookup("introspect-cli").Hidden = true
	f.BoolVar(&t.NoPager, "no-pager", false, "")
	f.BoolVar(&t.noLegend, "no-legend", false, "")
	f.BoolVarP(&t.Quiet, "quiet", "q", false, "")
	f.BoolVar(&t.noAskPassword, "no-ask-password", false, "")
	f.VarP(console.Checked(t.setHost), "host", "H", "")
	f.VarP(console.Checked(t.setContainer), "machine", "M", "")
	f.BoolVar(&t.target.User, "user", false, "")
	f.Var(console.Action(func() error { t.target.User = false; return nil }), "system", "")
	f.Lookup("system").NoOptDefVal = "true"
	t.outputFlags(f)
	t.machineFlags(f)
	t.imageFlags(f)
	return f
}

// outputFlags say what is printed and how.
func (t *tool) outputFlags(f *pflag.FlagSet) {
	f.VarP(console.Checked(t.addProperty), "property", "p", "")
	f.VarPF(console.Checked(t.addValue), "=P", "P", "").Hidden = true
	f.BoolVar(&t.value, "value", false, "")
	f.BoolVarP(&t.all, "all", "a", false, "")
	f.BoolVarP(&t.full, "full", "l", false, "")
	f.VarP(console.Checked(t.setLines), "lines", "n", "")
	f.Var(console.Checked(t.setMaxAddresses), "max-addresses", "")
	f.VarP(console.Checked(t.setOutput), "output", "o", "")
	f.Var(&t.json, "json", "")
	console.Letter(f, "j", func() error { t.json = t.JSON(); return nil })
}

// machineFlags say what is done to machines.
func (t *tool) machineFlags(f *pflag.FlagSet) {
	f.Var(console.Checked(t.setWhom), "kill-whom", "")
	f.VarP(console.Checked(t.setSignal), "signal", "s", "")
	f.StringVar(&t.uid, "uid", "", "")
	f.VarP(console.Checked(t.addEnvironment), "setenv", "E", "")
	f.StringVar(&t.directory, "working-directory", "", "")
	f.BoolVar(&t.mkdir, "mkdir", false, "")
	f.BoolVar(&t.now, "now", false, "")
	f.Var(console.Checked(t.setRunner), "runner", "")
	console.Letter(f, "V", func() error { t.runner = runnerVM; return nil })
}

// imageFlags say how images are made.
func (t *tool) imageFlags(f *pflag.FlagSet) {
	f.BoolVar(&t.readOnly, "read-only", false, "")
	f.BoolVar(&t.force, "force", false, "")
	f.Var(console.Checked(t.setVerify), "verify", "")
	f.Var(console.Checked(t.setFormat), "format", "")
}

func (t *tool) addProperty(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if name != "" {
			t.properties = append(t.properties, name)
		}
	}
	return nil
}

func (t *tool) addValue(text string) error {
	t.value = true
	return t.addProperty(text)
}

func (t *tool) setLines(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("it must be a number")
	}
	t.lines = int(n)
	return nil
}

func (t *tool) setHost(text string) error {
	if text == "" || strings.HasPrefix(text, "-") {
		return errors.New("it must be [USER@]HOST")
	}
	t.target.Host, t.target.Container = text, ""
	return nil
}

func (t *tool) setContainer(text string) error {
	_, name, given := strings.Cut(text, "@")
	if !given {
		name = text
	}
	if name != machined.HostName && (!given || name != "") && machined.ValidName(name) != nil {
		return errors.New("it must be [USER@]MACHINE")
	}
	t.target.Container, t.target.Host = text, ""
	return nil
}

func (t *tool) setMaxAddresses(text string) error {
	if text == "all" {
		t.maxAddresses = math.MaxInt
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("it must be a number, or all")
	}
	t.maxAddresses = int(n)
	return nil
}

// setOutput takes all modes of the journal's output; those for JSON are for lists
// as well.
func (t *tool) setOutput(text string) error {
	mode, err := console.Choice(t.Console, text,
		"short", "short-precise", "short-iso", "short-iso-precise", "short-full", "short-monotonic", "short-unix",
		"short-delta", "json", "json-pretty", "json-sse", "json-seq", "cat", "verbose", "export", "with-unit")
	t.journalMode = mode
	switch mode {
	case "json", "json-sse", "json-seq":
		t.json = cli.JSONShort
	case "json-pretty":
		t.json = cli.JSONPretty
	}
	return err
}

func (t *tool) setWhom(text string) (err error) {
	t.whom, err = console.Choice(t.Console, text, machined.KillLeader, machined.KillSupervisor, machined.KillAll)
	return err
}

func (t *tool) setRunner(text string) (err error) {
	t.runner, err = console.Choice(t.Console, text, runnerContainer, runnerVM)
	return err
}

func (t *tool) setVerify(text string) (err error) {
	t.verify, err = console.Choice(t.Console, text, importd.VerifyNo, importd.VerifyChecksum, importd.VerifySignature)
	return err
}

func (t *tool) setFormat(text string) (err error) {
	t.format, err = console.Choice(t.Console, text, compress.None, compress.XZ, compress.Gzip, compress.Bzip2, compress.Zstd)
	return err
}

// addEnvironment takes VAR=VALUE, or VAR for the value of our own environment.
func (t *tool) addEnvironment(text string) error {
	name, _, given := strings.Cut(text, "=")
	if !validVariable(name) {
		return errors.New("it must be VAR or VAR=VALUE")
	}
	if !given {
		value, ok := os.LookupEnv(name)
		if !ok {
			return fmt.Errorf("the environment has no variable %s", name)
		}
		text = name + "=" + value
	}
	t.environment = append(t.environment, text)
	return nil
}

func validVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
