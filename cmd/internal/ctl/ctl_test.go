package ctl_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/cmd/internal/ctl"
	"berth/importd"
	"berth/transfer/compress"

	"github.com/spf13/pflag"
)

// invocation returns a run that writes to a file, and what that has.
func invocation(t *testing.T) (*ctl.Invocation, func() string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	})
	i := ctl.New(&console.Console{Tool: "tool", Stdin: out, Stdout: out, Stderr: out, Getenv: func(string) string { return "" }})
	return &i, func() string {
		text, err := io.ReadAll(io.NewSectionReader(out, 0, 1<<20))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
}

func parse(i *ctl.Invocation, args ...string) error {
	f := pflag.NewFlagSet("tool", pflag.ContinueOnError)
	i.AddFlags(f)
	_, err := cli.ParseOptions(f, args, nil)
	return err
}

func TestOptions(t *testing.T) {
	plain := ctl.Options{AsJSON: cli.JSONOff}
	for _, test := range []struct {
		args string
		want func(o *ctl.Options)
	}{
		{"-q --no-pager", func(*ctl.Options) {}},
		{"-h", func(o *ctl.Options) { o.Help = true }},
		{"--version --introspect-cli", func(o *ctl.Options) { o.Version, o.Introspect = true, true }},
		{"--verify=no", func(o *ctl.Options) { o.Verify = importd.VerifyNo }},
		{"--format zstd", func(o *ctl.Options) { o.Format = compress.Zstd }},
		{"-j", func(o *ctl.Options) { o.AsJSON = cli.JSONShort }},
		{"--json=pretty --no-legend", func(o *ctl.Options) { o.AsJSON, o.NoLegend = cli.JSONPretty, true }},
		{"--force --read-only --no-ask-password", func(o *ctl.Options) { o.Force, o.ReadOnly, o.NoAskPassword = true, true, true }},
		{"--user", func(o *ctl.Options) { o.Target = bus.Target{User: true} }},
		{"--user --system", func(*ctl.Options) {}},
		{"-H me@there", func(o *ctl.Options) { o.Target = bus.Target{Host: "me@there"} }},
		{"-H there -M one", func(o *ctl.Options) { o.Target = bus.Target{Container: "one"} }},
		{"-M me@.host -H there --user", func(o *ctl.Options) { o.Target = bus.Target{Host: "there", User: true} }},
		{"-M @", func(o *ctl.Options) { o.Target = bus.Target{Container: "@"} }},
	} {
		i, _ := invocation(t)
		want := plain
		test.want(&want)
		if err := parse(i, strings.Fields(test.args)...); err != nil || i.Options != want {
			t.Errorf("%s: %+v, %v, want %+v", test.args, i.Options, err, want)
		}
	}
	for _, args := range [][]string{
		{"-x"},
		{"--force=yes"},
		{"--format=lz4"},
		{"--json=x"},
		{"--verify=maybe"},
		{"--host="},
		{"-H", "-oProxyCommand=x"},
		{"--machine="},
		{"-M", "a/b"},
		{"--machine=me@-"},
	} {
		i, _ := invocation(t)
		err := parse(i, args...)
		if _, ok := errors.AsType[*cli.UsageError](err); !ok {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// What leads to a daemon leads another run there.
func TestTargetOptions(t *testing.T) {
	for _, args := range [][]string{nil, {"--user"}, {"--host=me@there"}, {"--user", "--machine=me@one"}} {
		i, _ := invocation(t)
		if err := parse(i, args...); err != nil || !slices.Equal(i.TargetOptions(), args) {
			t.Errorf("%q: %q, %v", args, i.TargetOptions(), err)
		}
	}
}

func TestRun(t *testing.T) {
	for args, want := range map[string]string{
		"--version":        "berth tool 7\n",
		"-h do":            "help\n",
		"--introspect-cli": "description\n",
		"--verify=help":    "no\nchecksum\nsignature\n",
		"do a b":           "do [a b]\n",
		"do -q a -- -b":    "do [a -b]\n",
		"until -q":         "until [-q]\n",
	} {
		i, out := invocation(t)
		say := func(text string) error { _, err := io.WriteString(i.Stdout, text+"\n"); return err }
		verb := func(name string) cli.Verb {
			return cli.Verb{Name: name, Max: cli.Any, Run: func(_ context.Context, args []string) error {
				return say(name + " [" + strings.Join(args, " ") + "]")
			}}
		}
		f := pflag.NewFlagSet("tool", pflag.ContinueOnError)
		i.AddFlags(f)
		err := i.Run(t.Context(), ctl.Command{
			Version: "7", Flags: f, Verbs: []cli.Verb{verb("do"), verb("until")},
			End:      func(positional []string) bool { return positional[0] == "until" },
			Help:     func(context.Context, []string) error { return say("help") },
			Describe: func() error { return say("description") },
		}, strings.Fields(args))
		if err != nil || out() != want {
			t.Errorf("%s: %q, %v, want %q", args, out(), err, want)
		}
	}
}
