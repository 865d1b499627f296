package main

import (
	"slices"
	"strings"

	"berth/cmd/internal/cli"

	"github.com/spf13/pflag"
)

func (t *tool) introspect() error {
	return cli.Description{
		Names: []string{t.Tool}, Project: "berth", Version: version, Abstract: []string{helpIntroduction},
		Options: introspectOptions(t.flags()), Verbs: introspectVerbs(t.verbs()),
	}.Print(t.Stdout, t.JSON())
}

// introspectOptions lists the options in the order of the help text, then those
// that are not in there.
func introspectOptions(flags *pflag.FlagSet) (list []cli.OptionDescription) {
	explained := make(map[string]bool)
	for _, line := range optionHelp.lines {
		o := cli.OptionDescription{Argument: "no_argument", Help: line.text}
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
		o := cli.OptionDescription{Names: []string{"--" + f.Name}, Argument: "required_argument"}
		if f.NoOptDefVal != "" {
			o.Argument = "no_argument"
		}
		list = append(list, o)
	})
	return list
}

func introspectVerbs(verbs []cli.Verb) (list []cli.VerbDescription) {
	lines := slices.Concat(machineHelp.lines, imageHelp.lines)
	for _, v := range verbs {
		for _, name := range append([]string{v.Name}, v.Aliases...) {
			one := cli.VerbDescription{Names: []string{name}, IsDefault: v.Default}
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
