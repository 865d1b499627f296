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
		o := cli.DescribeOption(line.what, line.text)
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
			abstract := ""
			for _, line := range lines {
				if what, _, _ := strings.Cut(line.what, " "); what == name {
					abstract = line.text
				}
			}
			one := v
			one.Name, one.Aliases = name, nil
			list = append(list, cli.DescribeVerb(one, abstract))
		}
	}
	return list
}
