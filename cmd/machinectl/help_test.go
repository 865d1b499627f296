package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"berth/cmd/internal/cli"

	"github.com/spf13/pflag"
)

// Everything that the command line takes is explained, and nothing else.
func TestHelpIsComplete(t *testing.T) {
	tool, _ := toolFor(t)
	var explained []string
	for _, line := range optionHelp.lines {
		for word := range strings.FieldsSeq(line.what) {
			name, _, _ := strings.Cut(word, "=")
			if strings.HasPrefix(name, "-") {
				explained = append(explained, name)
			}
		}
	}
	var taken []string
	tool.flags().VisitAll(func(f *pflag.Flag) {
		if f.Shorthand != "" {
			taken = append(taken, "-"+f.Shorthand)
		}
		if name := "--" + f.Name; !strings.HasPrefix(f.Name, "=") && !strings.Contains(helpEnd, name+"=") && !f.Hidden {
			taken = append(taken, name)
		}
	})
	slices.Sort(explained)
	slices.Sort(taken)
	if !slices.Equal(explained, taken) {
		t.Errorf("options explained: %q\ntaken: %q", explained, taken)
	}
	lines := slices.Concat(machineHelp.lines, imageHelp.lines)
	for _, v := range tool.verbs() {
		known := slices.ContainsFunc(lines, func(l helpLine) bool { return strings.Fields(l.what)[0] == v.Name })
		if !known && v.Name != "help" && !strings.Contains(helpEnd, v.Name) {
			t.Errorf("%s is not explained", v.Name)
		}
		for _, alias := range v.Aliases {
			if !slices.ContainsFunc(lines, func(l helpLine) bool { return strings.Contains(l.text, alias) }) {
				t.Errorf("%s is not explained", alias)
			}
		}
	}
}

func TestIntrospection(t *testing.T) {
	tool, stdout := toolFor(t)
	if err := tool.introspect(); err != nil {
		t.Fatal(err)
	}
	var got cli.Document
	if err := json.Unmarshal([]byte(stdout()), &got); err != nil {
		t.Fatal(err)
	}
	if got.MediaType != cli.DocumentType || len(got.Commands) != 1 {
		t.Fatalf("introspection: %+v", got)
	}
	c := got.Commands[0]
	seen := make(map[string]cli.OptionDescription)
	for _, o := range c.Options {
		for _, name := range o.Names {
			if _, twice := seen[name]; twice {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = o
		}
	}
	for name, want := range map[string]cli.OptionDescription{
		"-P": {Argument: "required_argument", Metavar: "NAME"}, "-V": {Argument: "no_argument"},
		"--property": {Argument: "required_argument", Metavar: "NAME"}, "-a": {Argument: "no_argument"},
		"--verify": {Argument: "required_argument"}, "--introspect-cli": {Argument: "no_argument"},
	} {
		if o := seen[name]; o.Argument != want.Argument || o.Metavar != want.Metavar {
			t.Errorf("%s: %+v", name, o)
		}
	}
	for _, v := range c.Verbs {
		switch v.Names[0] {
		case "list":
			if v.MaxArguments != 1 || !v.IsDefault {
				t.Errorf("list: %+v", v)
			}
		case "copy-to":
			if v.MinArguments != 3 || v.MaxArguments != 4 || len(v.Abstract) != 1 {
				t.Errorf("copy-to: %+v", v)
			}
		}
	}
}
