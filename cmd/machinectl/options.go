package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/machined"

	"github.com/spf13/pflag"
)

// options are those that importctl has not.
type options struct {
	// properties are what show prints; empty: all that are set.
	properties []string
	value      bool
	all        bool

	lines        int    // of the journal
	journalMode  string // of journalctl's output
	full         bool
	maxAddresses int // 0: no column

	whom   machined.KillWhom
	signal syscall.Signal

	uid         string
	environment []string
	directory   string

	mkdir  bool
	now    bool
	runner string
}

func (t *tool) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("machinectl", pflag.ContinueOnError)
	t.AddFlags(f)
	t.outputFlags(f)
	t.machineFlags(f)
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
		t.AsJSON = cli.JSONShort
	case "json-pretty":
		t.AsJSON = cli.JSONPretty
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
