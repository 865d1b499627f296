package helper

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
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
		name := "   --" + o.name
		if o.letter != "" {
			name = "-" + o.letter + " --" + o.name
		}
		if o.argument != "" {
			name += "=" + o.argument
		}
		fmt.Fprintf(w, "  %s\t%s\n", name, o.help)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print help: %w", err)
	}
	return nil
}

// describedOption and describedVerb are entries of --introspect-cli. Numbers of
// arguments count the verb.
type describedOption struct {
	Names    []string `json:"names"`
	Argument string   `json:"argument"`
	Metavar  string   `json:"metavar,omitempty"`
	Help     string   `json:"help,omitempty"`
}

type describedVerb struct {
	Names        []string `json:"names"`
	Abstract     []string `json:"abstract,omitempty"`
	MinArguments int      `json:"minArguments,omitempty"`
	MaxArguments int      `json:"maxArguments,omitempty"`
}

type describedCommand struct {
	Names    []string          `json:"names"`
	Project  string            `json:"project"`
	Version  string            `json:"version"`
	Abstract []string          `json:"abstract"`
	Options  []describedOption `json:"options"`
	Verbs    []describedVerb   `json:"verbs"`
}

// printDescription prints the table of the program for programs.
func (h *helper) printDescription() error {
	command := describedCommand{
		Names: []string{h.program.name}, Project: "berth", Version: h.buildInfo, Abstract: []string{h.program.abstract},
	}
	for _, o := range h.programOptions() {
		d := describedOption{Names: []string{"--" + o.name}, Argument: "no_argument", Metavar: o.argument, Help: o.help}
		if o.letter != "" {
			d.Names = []string{"-" + o.letter, "--" + o.name}
		}
		if o.argument != "" {
			d.Argument = "required_argument"
		}
		command.Options = append(command.Options, d)
	}
	for _, v := range h.program.verbs {
		arguments := 1 + len(strings.Fields(v.arguments))
		command.Verbs = append(command.Verbs, describedVerb{[]string{v.name}, []string{v.abstract}, 2, arguments})
	}
	command.Verbs = append(command.Verbs, describedVerb{Names: []string{"help"}})
	text, err := json.Marshal(map[string]any{
		"mediaType": "application/vnd.io.systemd.cli-introspection-0", "commands": []describedCommand{command},
	})
	if err != nil {
		return fmt.Errorf("describe the command line: %w", err)
	}
	_, err = fmt.Fprintf(h.Stdout, "%s\n", text)
	return err
}
