package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/cmd/internal/ctl"
	"berth/cmd/internal/importapi"
	"berth/images"
)

// toolFor returns a tool that writes to files, and what returns its standard
// output from the beginning.
func toolFor(t *testing.T) (*tool, func() io.Reader) {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		return f
	}
	c := &console.Console{
		Tool: "importctl", Stdin: open("in"), Stdout: open("out"), Stderr: open("err"),
		Getenv: func(string) string { return "" },
	}
	return &tool{Invocation: ctl.New(c)}, func() io.Reader {
		return io.NewSectionReader(c.Stdout, 0, 1<<20)
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		args []string
		want func(options) bool
	}{
		{[]string{"-m"}, func(o options) bool { return o.class == images.ClassMachine }},
		{[]string{"-P", "-S", "-C"}, func(o options) bool { return o.class == images.ClassConfext }},
		{[]string{"--cl=sysext"}, func(o options) bool { return o.class == images.ClassSysext }},
		{[]string{"-mN"}, func(o options) bool { return !o.keep() }},
		{[]string{"-m"}, func(o options) bool { return o.keep() }},
		{[]string{"-P"}, func(o options) bool { return !o.keep() }},
		{[]string{"-P", "--keep-download=yes"}, func(o options) bool { return o.keep() }},
	} {
		tool, _ := toolFor(t)
		rest, err := cli.ParseOptions(tool.flags(), append(test.args, "verb"), nil)
		if err != nil || len(rest) != 1 || !test.want(tool.options) {
			t.Errorf("%q: %+v, %q, %v", test.args, tool.options, rest, err)
		}
	}
	for _, args := range [][]string{{"-x"}, {"--class"}, {"--class=boat"}, {"--keep-download=x"}, {"--=m"}, {"-Nx"}} {
		tool, _ := toolFor(t)
		_, err := cli.ParseOptions(tool.flags(), args, nil)
		if usage, ok := errors.AsType[*cli.UsageError](err); !ok {
			t.Errorf("%q: %v, %v", args, usage, err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Chdir("/tmp")
	pulled := func(args ...string) (string, error) { return pulledName(importapi.FormTar, args) }
	imported := func(form importapi.Form) func(...string) (string, error) {
		return func(args ...string) (string, error) { return importedName(form, args) }
	}
	for _, test := range []struct {
		name func(...string) (string, error)
		args []string
		want string // empty: an error
	}{
		{pulled, []string{"http://h/a.tar.xz"}, "a"},
		{pulled, []string{"http://h/a.tar.xz?x=/y"}, "a"},
		{pulled, []string{"http://h/a.tar.xz", "-"}, "-"},
		{pulled, []string{"http://h/a.tar.xz", ""}, "-"},
		{pulled, []string{"http://h/a.tar.xz", "b.tar.gz"}, "b"},
		{pulled, []string{"http://h/"}, ""},
		{pulled, []string{"http://h/a.tar", "b/c"}, ""},
		{imported(importapi.FormRaw), []string{"dir/a.raw.xz"}, "a"},
		{imported(importapi.FormRaw), []string{"a.raw", "-"}, "a"},
		{imported(importapi.FormRaw), []string{"-", "x.qcow2"}, "x"},
		{imported(importapi.FormRaw), []string{"-"}, ""},
		{imported(importapi.FormRaw), []string{"", ""}, ""},
		{imported(importapi.FormFS), []string{"."}, "tmp"},
		{imported(importapi.FormFS), []string{"a.tar/"}, "a.tar"},
		{imported(importapi.FormFS), []string{"/"}, ""},
	} {
		got, err := test.name(test.args...)
		if got != test.want && err == nil || (err != nil) != (test.want == "") {
			t.Errorf("%q: %q, %v, want %q", test.args, got, err, test.want)
		}
	}
}
