package main

import (
	"slices"
	"strings"

	"berth/cmd/internal/cli"

	"github.com/spf13/pflag"
)

// introspectionType names the format of --introspect-cli.
const introspectionType = "application/vnd.io.systemd.cli-introspection-0"

// introspection describes the command line to programs such as completions.
type introspection struct {
	MediaType string                `json:"mediaType"`
	Commands  []introspectedCommand `json:"commands"`
}

type introspectedCommand struct {
	Names    []string             `json:"names"`
	Project  string               `json:"project"`
	Version  string               `json:"version"`
	Abstract []string             `json:"abstract"`
	Options  []introspectedOption `json:"options"`
	Verbs    []introspectedVerb   `json:"verbs"`
}

type introspectedOption struct {
	Names    []string `json:"names"`
	Argument string   `json:"argument"`
	Metavar  string   `json:"metavar,omitempty"`
	Help     string   `json:"help,omitempty"`
}

// introspectedVerb counts the verb itself as an argument.
type introspectedVerb struct {
	Names        []string `json:"names"`
	Abstract     []string `json:"abstract,omitempty"`
	MinArguments int      `json:"minArguments,omitempty"`
	MaxArguments int      `json:"maxArguments,omitempty"`
	IsDefault    bool     `json:"isDefault,omitempty"`
}

func (t *tool) introspect() error {
	return cli.PrintJSON(t.Stdout, introspection{
		MediaType: introspectionType,
		Commands: []introspectedCommand{{
			Names: []string{t.Tool}, Project: "berth", Version: version, Abstract: []string{helpIntroduction},
			Options: introspectOptions(t.flags()), Verbs: introspectVerbs(t.verbs()),
		}},
	}, t.JSON())
}

// introspectOptions lists the options in the order of the help text, then those
// that are not in there.
func introspectOptions(flags *pflag.FlagSet) (list []introspectedOption) {
	explained := make(map[string]bool)
	for _, line := range optionHelp.lines {
		o := introspectedOption{Argument: "no_argument", Help: line.text}
		what, metavar, takes := strings.Cut(line.what, "=")
		o.Names = strings.Fields(what)
		if short := len(o.Names) == 2 && !strings.HasPrefix(o.Names[1], "-"); short {
			metavar, takes, o.Names = o.Names[1], true, o.Names[:1]
		}
		if takes {
			o.Argument, o.Metavar = "required_argument", metavar
		}
		for _, name := range o.Names {
			explained[name] = true
		}
		list = append(list, o)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "=") || explained["--"+f.Name] { // those with a letter only are all explained
			return
		}
		o := introspectedOption{Names: []string{"--" + f.Name}, Argument: "required_argument"}
		if f.NoOptDefVal != "" {
			o.Argument = "no_argument"
		}
		list = append(list, o)
	})
	return list
}

func introspectVerbs(verbs []cli.Verb) (list []introspectedVerb) {
	lines := slices.Concat(machineHelp.lines, imageHelp.lines)
	for _, v := range verbs {
		for _, name := range append([]string{v.Name}, v.Aliases...) {
			one := introspectedVerb{Names: []string{name}, IsDefault: v.Default}
			if v.Min > 0 {
				one.MinArguments = v.Min + 1
			}
			if v.Max != cli.Any {
				one.MaxArguments = v.Max + 1
			}
			for _, line := range lines {
				if what, _, _ := strings.Cut(line.what, " "); what == name {
					one.Abstract = []string{line.text}
				}
			}
			list = append(list, one)
		}
	}
	return list
}
