package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/cli"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func golden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func micro(us int64) cli.Cell { return cli.Time(time.UnixMicro(us), time.UTC) }

func imagesTable() *cli.Table {
	t := &cli.Table{Columns: []cli.Column{
		{Name: "NAME"}, {Name: "TYPE"}, {Name: "RO"}, {Name: "USAGE", Right: true}, {Name: "CREATED"}, {Name: "MODIFIED"},
	}}
	add := func(name, kind string, usage uint64, created int64, modified cli.Cell) {
		t.Add(cli.String(name), cli.String(kind), cli.Bool(false, "yes", "no"), cli.Bytes(usage), micro(created), modified)
	}
	never := cli.Time(time.Time{}, time.UTC)
	add("disk", "raw", 0, 1795474510624947, micro(1795474510624947))
	add("run1", "directory", cli.UnknownSize, 1795474510627905, never)
	add("tree", "directory", cli.UnknownSize, 1795474510619905, never)
	add("x1", "directory", cli.UnknownSize, 1795473740899869, never)
	return t
}

func TestTablesAreLikeSystemds(t *testing.T) {
	machines := &cli.Table{Empty: "-", Columns: []cli.Column{
		{Name: "MACHINE"}, {Name: "CLASS"}, {Name: "SERVICE"}, {Name: "OS"}, {Name: "VERSION"}, {Name: "ADDRESSES"},
	}}
	machines.Add(cli.String("run1"), cli.String("container"), cli.String("systemd-nspawn"), cli.String("debian"), cli.String("12"), cli.KnownString(""))
	transfers := &cli.Table{Empty: "-", Columns: []cli.Column{
		{Name: "ID", Right: true}, {Name: "PROGRESS", Right: true}, {Name: "TYPE"}, {Name: "CLASS"}, {Name: "LOCAL"}, {Name: "REMOTE"},
	}}
	transfers.Add(cli.Cell{Text: "1", Value: 1}, cli.Unknown(), cli.String("import-tar"), cli.String("machine"), cli.String("slow"), cli.String(""))
	for name, table := range map[string]*cli.Table{
		"machinectl-list": machines, "machinectl-list-images": imagesTable(), "importctl-list-transfers": transfers,
	} {
		var text, js bytes.Buffer
		if err := errors.Join(table.Print(&text, cli.PrintOptions{}), table.JSON(&js, cli.JSONShort)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(golden(t, name+".txt"), text.String()); diff != "" {
			t.Errorf("%s.txt: %s", name, diff)
		}
		if diff := cmp.Diff(golden(t, name+".json"), js.String()); diff != "" {
			t.Errorf("%s.json: %s", name, diff)
		}
	}
}

func TestTableOfTheImportTool(t *testing.T) {
	table := &cli.Table{Empty: "-", Columns: []cli.Column{
		{Name: "CLASS"},
		{Name: "NAME"},
		{Name: "TYPE"},
		{Name: "PATH"},
		{Name: "RO"},
		{Name: "CRTIME"},
		{Name: "MTIME"},
		{Name: "USAGE"},
		{Name: "LIMIT"},
		{Name: "LIMIT-EXCLUSIVE", Hidden: true},
	}}
	escaped := `.tar-http:\x2f\x2f127\x2e0\x2e0\x2e1:8000\x2frootfs\x2etar\x2ezst`
	never := cli.Time(time.Time{}, time.UTC)
	add := func(name, kind, path string, ro bool, created int64, modified, usage, limit cli.Cell) {
		table.Add(cli.String("machine"), cli.String(name), cli.String(kind), cli.String(path), cli.Bool(ro, "ro", "rw"), micro(created), modified, usage, limit, limit)
	}
	none := cli.Unknown()
	add(".host", "directory", "/", true, 1795472299211802, never, none, none)
	add(escaped, "directory", "/var/lib/machines/"+escaped, true, 1795473550859770, never, none, none)
	add("disk", "raw", "/var/lib/machines/disk.raw", false, 1795474510624947, micro(1795474510624947), cli.Bytes(0), cli.Bytes(20971520))
	add("run1", "directory", "/var/lib/machines/run1", false, 1795474510627905, never, none, none)
	add("tree", "directory", "/var/lib/machines/tree", false, 1795474510619905, never, none, none)
	add("x1", "directory", "/var/lib/machines/x1", false, 1795473740899869, never, none, none)
	var text bytes.Buffer
	if err := table.Print(&text, cli.PrintOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(golden(t, "importctl-list-images.txt"), text.String()); diff != "" {
		t.Error(diff)
	}
}

func TestCellsOfSeveralLines(t *testing.T) {
	table := &cli.Table{MaxLines: 2, Columns: []cli.Column{{Name: "A"}, {Name: "ADDRESS"}, {Name: "N", Right: true}}}
	table.Add(cli.String("x"), cli.String("10.0.0.1\nfe80::1\nfe80::2"), cli.String("1"))
	table.Add(cli.String("\x1b[2Jé"), cli.String("a"), cli.Cell{Text: "22", Style: cli.Red})
	var text bytes.Buffer
	if err := table.Print(&text, cli.PrintOptions{NoHeading: true, Colors: true}); err != nil {
		t.Fatal(err)
	}
	want := "x        10.0.0.1  1\n         fe80::1…   \n\\x1b[2Jé a        \x1b[0;1;31m22\x1b[0m\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPrettyJSON(t *testing.T) {
	var out bytes.Buffer
	value := []any{map[string]any{"a": `x"[{:,\`, "b": []int{}, "c": map[string]int{}}, nil, []int{1, 2}, "<é>"}
	if err := cli.PrintJSON(&out, value, cli.JSONPretty); err != nil {
		t.Fatal(err)
	}
	want := "[\n\t{\n\t\t\"a\" : \"x\\\"[{:,\\\\\",\n\t\t\"b\" : [],\n\t\t\"c\" : {}\n\t},\n\tnull,\n\t[\n\t\t1,\n\t\t2\n\t],\n\t\"<é>\"\n]\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := (&cli.Table{}).JSON(&out, cli.JSONPretty); err != nil || out.String() != "[]\n" {
		t.Errorf("empty table: %q, %v", out.String(), err)
	}
}

func TestParseOptions(t *testing.T) {
	shell := func(p []string) bool { return p[0] == "shell" && len(p) == 3 }
	tests := []struct {
		args, positional, set, fails string
	}{
		{"list -a foo --lines 5", "list foo", "all=true lines=5", ""},
		{"-an7 x", "x", "all=true lines=7", ""},
		{"-n 7 -- -a x", "-a x", "lines=7", ""},
		{"--lin=3 --re", "", "lines=3 read-only=true", ""},
		{"--li -5", "", "lines=-5", ""},
		{"- x", "- x", "", ""},
		{"shell m -a cmd -n 5", "shell m cmd -n 5", "all=true", ""},
		{"--m", "", "", "Option '--m' can mean --machine or --mkdir."},
		{"--nope", "", "", "Unknown option '--nope'."},
		{"--=x", "", "", "Unknown option '--'."},
		{"--hid", "", "", "Unknown option '--hid'."},
		{"--hidden", "", "hidden=true", ""},
		{"-aZ", "", "", "Unknown option '-Z'."},
		{"--all=yes", "", "", "Option '--all' takes no argument."},
		{"--lines", "", "", "Option '--lines' needs an argument."},
		{"-an", "", "", "Option '-n' needs an argument."},
		{"--lines x", "", "", "Invalid argument 'x' of option '--lines': "},
	}
	for _, tt := range tests {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.BoolP("all", "a", false, "")
		flags.IntP("lines", "n", 10, "")
		flags.Bool("read-only", false, "")
		flags.String("machine", "", "")
		flags.Bool("mkdir", false, "")
		flags.Bool("hidden", false, "")
		if err := flags.MarkHidden("hidden"); err != nil {
			t.Fatal(err)
		}
		got, err := cli.ParseOptions(flags, strings.Fields(tt.args), shell)
		if tt.fails != "" {
			if use, ok := errors.AsType[*cli.UsageError](err); !ok || !strings.HasPrefix(use.Text, tt.fails) {
				t.Errorf("%s: %v, want %s", tt.args, err, tt.fails)
			}
			continue
		}
		var set []string
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Changed {
				set = append(set, f.Name+"="+f.Value.String())
			}
		})
		if err != nil || !slices.Equal(got, strings.Fields(tt.positional)) || strings.Join(set, " ") != tt.set {
			t.Errorf("%s: got %q with %q, %v", tt.args, got, set, err)
		}
	}
}

func TestFindVerb(t *testing.T) {
	verbs := []cli.Verb{
		{Name: "list", Default: true},
		{Name: "list-images"},
		{Name: "poweroff", Aliases: []string{"stop"}, Min: 1, Max: cli.Any},
		{Name: "read-only", Min: 1, Max: 2},
		{Name: "pull-tar", Hidden: true},
	}
	for args, want := range map[string]string{
		"":                "list",
		"list":            "list",
		"stop a b":        "poweroff",
		"read-only a":     "read-only",
		"list x":          "Too many arguments.",
		"stop":            "Too few arguments.",
		"read-only a b c": "Too many arguments.",
		"lsit":            "Unknown command verb 'lsit', did you mean 'list'?",
		"power-off":       "Unknown command verb 'power-off', did you mean 'poweroff'?",
		"xyzzyxyzzy":      "Unknown command verb 'xyzzyxyzzy'.",
	} {
		v, rest, err := cli.FindVerb(verbs, strings.Fields(args))
		if err != nil && err.Error() != want || err == nil && v.Name != want {
			t.Errorf("%s: got %q %q, %v", args, v.Name, rest, err)
		}
	}
	if _, _, err := cli.FindVerb(verbs[1:], nil); err == nil {
		t.Error("no default, and no error")
	}
}

func TestSizesAndTimes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1K", 1536: "1.5K", 20971520: "20M", 1<<30 - 1: "1023.9M", 1 << 60: "1E", 5 << 39: "2.5T",
	} {
		if got := cli.FormatBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for text, want := range map[string]uint64{"20M": 20971520, "1.5K": 1536, "7": 7, "7B": 7, "0": 0, "15E": 15 << 60} {
		if got, err := cli.ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "B", "K", "-1", "+1", "16E", "1.K", "1.5.5", "x", "1e3"} {
		if got, err := cli.ParseBytes(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
	now := time.Date(2026, 11, 23, 22, 55, 14, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", 3 * time.Second: "3s ago", 65 * time.Second: "1min 5s ago", 6 * time.Minute: "6min ago", 90 * time.Minute: "1h 30min ago",
		7 * time.Hour: "7h ago", 26 * time.Hour: "1 day 2h ago", 50 * time.Hour: "2 days ago", 8 * 24 * time.Hour: "1 week 1 day ago",
		40 * 24 * time.Hour: "1 month 9 days ago", 400 * 24 * time.Hour: "1 year 1 month ago", -5 * time.Second: "5s left", 2 * time.Millisecond: "2ms ago",
	} {
		if got := cli.FormatRelative(now.Add(-d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := cli.FormatTime(now, time.FixedZone("CET", 3600)); got != "Mon 2026-11-23 23:55:14 CET" {
		t.Error(got)
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	plain := &cli.Progress{Label: "Total:", Out: &out}
	for _, share := range []float64{0, 0.05, 0.12, 0.11, 0.15, 0.5, 1, 1} {
		plain.Set(share)
	}
	plain.Clear()
	if got := out.String(); got != "Total: 12%\nTotal: 50%\nTotal: 100%\n" {
		t.Errorf("in a pipe: %q", got)
	}
	out.Reset()
	now := time.Unix(0, 0)
	bar := &cli.Progress{Label: "Total:", Out: &out, Width: func() int { return 33 }, Now: func() time.Time { return now }}
	for _, share := range []float64{0.5, 0.9, 1} { // the second comes too soon
		bar.Set(share)
	}
	bar.Line("done")
	bar.Clear()
	half, full := strings.Repeat("━", 10)+strings.Repeat("─", 10), strings.Repeat("━", 20)
	want := "\rTotal: " + half + "  50%\x1b[K\rTotal: " + full + " 100%\x1b[K\r\x1b[Kdone\n\rTotal: " + full + " 100%\x1b[K\r\x1b[K"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestProgressOfUnknownSize(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &cli.Progress{Label: "Copied:", Out: &out, Now: func() time.Time { return now }}
	p.Count("1M")
	if out.Len() > 0 {
		t.Errorf("in a pipe: %q", out.String())
	}
	p.Width = func() int { return 33 }
	p.Count("1M")
	p.Count("2M") // too soon
	now = now.Add(time.Second)
	p.Count("3M")
	p.Clear()
	if want := "\rCopied: 1M\x1b[K\rCopied: 3M\x1b[K\r\x1b[K"; out.String() != want {
		t.Errorf("on a terminal: %q, want %q", out.String(), want)
	}
}

func TestColors(t *testing.T) {
	tests := []struct {
		env      string
		terminal bool
		want     bool
	}{
		{"", true, true},
		{"", false, false},
		{"TERM=dumb", true, false},
		{"NO_COLOR=1", true, false},
		{"SYSTEMD_COLORS=0", true, false},
		{"SYSTEMD_COLORS=yes NO_COLOR=1", false, true},
		{"SYSTEMD_COLORS=256", false, true},
		{"SYSTEMD_COLORS=auto-16", false, false},
		{"SYSTEMD_COLORS=nonsense", true, true},
	}
	for _, tt := range tests {
		if got := cli.Colors(environment(tt.env), tt.terminal); got != tt.want {
			t.Errorf("%q, terminal %v: %v", tt.env, tt.terminal, got)
		}
	}
}

func environment(text string) func(string) string {
	return func(name string) string {
		for _, variable := range strings.Fields(text) {
			if key, value, _ := strings.Cut(variable, "="); key == name {
				return value
			}
		}
		return ""
	}
}

func TestExitStatus(t *testing.T) {
	cause := errors.New("cause")
	wrapped := fmt.Errorf("run: %w", &cli.Exit{Status: 42})
	if cli.ExitStatus(nil) != 0 || cli.ExitStatus(cause) != 1 || cli.ExitStatus(wrapped) != 42 {
		t.Error("wrong status")
	}
	if cli.Message(nil) != "" || cli.Message(cause) != "cause" || cli.Message(&cli.Exit{Status: 3}) != "" ||
		cli.Message(&cli.Exit{Status: 3, Err: cause}) != "cause" || cli.Message(errors.New("a\x1b")) != `a\x1b` {
		t.Error("wrong message")
	}
}

func TestPager(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	page := func(text string, o cli.PagerOptions) error {
		o.Stdout, o.Stderr, o.Environ = out, os.Stderr, os.Environ()
		w, err := cli.StartPager(context.Background(), o)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, text)
		return errors.Join(err, w.Close())
	}
	upper := func(name string) string {
		return map[string]string{"SYSTEMD_PAGER": "tr a-z A-Z", "PAGER": "false"}[name]
	}
	if err := errors.Join(
		page("paged\n", cli.PagerOptions{Terminal: true, Getenv: upper}),
		page("piped\n", cli.PagerOptions{Getenv: upper}),
		page("disabled\n", cli.PagerOptions{Terminal: true, Disabled: true, Getenv: upper}),
		page("cat\n", cli.PagerOptions{Terminal: true, Getenv: environment("PAGER=cat")}),
		page(strings.Repeat("x", 1<<20), cli.PagerOptions{Terminal: true, Getenv: environment("PAGER=true")}),
	); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(out.Name()); err != nil || string(got) != "PAGED\npiped\ndisabled\ncat\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func FuzzParseBytes(f *testing.F) {
	f.Add("1.5G")
	f.Add("16E")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := cli.ParseBytes(text); err == nil {
			if _, err := cli.ParseBytes(cli.FormatBytes(n)); err != nil {
				t.Errorf("%q is %d: %v", text, n, err)
			}
		}
	})
}
