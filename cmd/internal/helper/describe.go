package helper

import (
	"fmt"
	"text/tabwriter"

	"berth/cmd/internal/cli"
)

// printHelp prints the table of the program for people.
func (h *helper) printHelp() error {
	w := tabwriter.NewWriter(h.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "%s [OPTION…] COMMAND …\n\n%s\n\nCommands:\n", h.program.name, h.program.abstract)
	for _, v := range h.program.verbs {
		fmt.Fprintf(w, "  %s %s\t%s\n", v.name, v.arguments, v.abstract)
	}
	fmt.Fprint(w, "\nOptions:\n")
	for _, o := range h.programOptions() {
		if o.help == "" {
			continue
		}
		what := o.what()
		if o.letter == "" {
			what = "   " + what
		}
		fmt.Fprintf(w, "  %s\t%s\n", what, o.help)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print help: %w", err)
	}
	return nil
}

// printDescription prints the table of the program for programs.
func (h *helper) printDescription() error {
	d := cli.Description{
		Names: []string{h.program.name}, Project: "berth", Version: h.buildInfo, Abstract: []string{h.program.abstract},
	}
	for _, o := range h.programOptions() {
		d.Options = append(d.Options, cli.DescribeOption(o.what(), o.help))
	}
	abstracts := map[string]string{}
	for _, v := range h.program.verbs {
		abstracts[v.name] = v.abstract
	}
	for _, v := range h.cliVerbs() {
		d.Verbs = append(d.Verbs, cli.DescribeVerb(v, abstracts[v.Name]))
	}
	return d.Print(h.Stdout, h.JSON())
}

// what is the option as it stands in a help text.
func (o option) what() string {
	what := "--" + o.name
	if o.letter != "" {
		what = "-" + o.letter + " " + what
	}
	if o.argument != "" {
		what += "=" + o.argument
	}
	return what
}
