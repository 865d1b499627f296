package console_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// newConsole returns a console that writes to files, and what was written.
func newConsole(t *testing.T, env map[string]string) (c *console.Console, out, err func() string) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) (*os.File, func() string) {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		return f, func() string {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	c = &console.Console{Tool: "tool", Getenv: func(name string) string { return env[name] }}
	c.Stdin, _ = open("in")
	c.Stdout, out = open("out")
	c.Stderr, err = open("err")
	return c, out, err
}

func TestFailureIsOneLine(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		want   string
	}{
		{nil, 0, ""},
		{errors.Join(errors.New("a"), errors.New("b\x1b")), 1, "tool: a; b\\x1b\n"},
		{fmt.Errorf("silent: %w", &cli.Exit{Status: 7}), 7, ""},
		{&cli.Exit{Status: 125, Err: errors.New("why")}, 125, "tool: why\n"},
	} {
		c, _, said := newConsole(t, nil)
		if status := c.Fail(test.err); status != test.status || said() != test.want {
			t.Errorf("%v: status %d, %q", test.err, status, said())
		}
	}
}

func TestUnreachableDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	_, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
	want := "importd is not running: nobody listens at " + socket
	if got := console.Unreachable("importd", socket, err); got == nil || got.Error() != want {
		t.Errorf("got %v, want %q", got, want)
	}
	if got := console.Unreachable("importd", socket, os.ErrPermission); !errors.Is(got, os.ErrPermission) {
		t.Errorf("another reason became %v", got)
	}
}

func TestMonitorInAPipe(t *testing.T) {
	for _, test := range []struct {
		quiet bool
		env   map[string]string
		want  string
	}{
		{false, nil, "info\nTotal: 50%\nwarning\nTotal: 100%\n"},
		{true, nil, "warning\n"},
		{true, map[string]string{"SYSTEMD_COLORS": "1"}, "\x1b[0;1;33mwarning\x1b[0m\n"},
	} {
		c, _, said := newConsole(t, test.env)
		c.Quiet = test.quiet
		m := c.Monitor("Total:")
		m.Log(7, "debug")
		m.Log(6, "info")
		m.Set(-1)
		m.Set(0.5)
		m.Log(4, "warning")
		m.Set(1)
		m.End()
		if diff := cmp.Diff(test.want, said()); diff != "" {
			t.Errorf("%+v: %s", test, diff)
		}
	}
}

func TestLists(t *testing.T) {
	table := &cli.Table{Columns: []cli.Column{{Name: "NAME"}}}
	show := func(l console.List) string {
		c, out, _ := newConsole(t, nil)
		l.Table, l.Things = table, "things"
		if err := c.Show(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		return out()
	}
	short := console.List{JSON: cli.JSONShort}
	text, bare := console.List{JSON: cli.JSONOff}, console.List{JSON: cli.JSONOff, NoLegend: true}
	got := []string{show(text), show(bare), show(short)}
	table.Add(cli.String("a"))
	got = append(got, show(text), show(bare), show(short))
	want := []string{"No things.\n", "", "[]\n", "NAME\na\n\n1 things listed.\n", "a\n", `[{"name":"a"}]` + "\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFlags(t *testing.T) {
	c, out, _ := newConsole(t, nil)
	flags := pflag.NewFlagSet("tool", pflag.ContinueOnError)
	letters, mode := 0, ""
	console.Letter(flags, "x", func() error { letters++; return nil })
	flags.Var(console.Checked(func(text string) (err error) {
		mode, err = console.Choice(c, text, "one", "two")
		return err
	}), "mode", "")
	parse := func(args ...string) error {
		_, err := cli.ParseOptions(flags, args, nil)
		return err
	}
	if err := parse("-xx", "--mode=two"); err != nil || letters != 2 || mode != "two" || c.Listed {
		t.Errorf("%v, %d, %q, %v", err, letters, mode, c.Listed)
	}
	for _, args := range [][]string{{"--mode=three"}, {"--=x"}, {"--x"}, {"-xy"}} {
		if err := parse(args...); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	if err := parse("--mode=help"); err != nil || !c.Listed || out() != "one\ntwo\n" {
		t.Errorf("%v, %v, %q", err, c.Listed, out())
	}
}
