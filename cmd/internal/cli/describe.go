package cli

import (
	"io"
	"strings"
)

// Description tells programs, such as those that complete command lines, what a tool
// takes: the answer to --introspect-cli.
type Description struct {
	Names    []string            `json:"names"`
	Project  string              `json:"project"`
	Version  string              `json:"version"`
	Abstract []string            `json:"abstract"`
	Options  []OptionDescription `json:"options"`
	Verbs    []VerbDescription   `json:"verbs"`
}

// OptionDescription is one option by all its names, with their dashes.
type OptionDescription struct {
	Names []string `json:"names"`
	// Argument is "no_argument" or "required_argument".
	Argument string `json:"argument"`
	Metavar  string `json:"metavar,omitempty"`
	Help     string `json:"help,omitempty"`
}

// VerbDescription is one verb, which counts as an argument itself. A maximum of 0
// means any number.
type VerbDescription struct {
	Names        []string `json:"names"`
	Abstract     []string `json:"abstract,omitempty"`
	MinArguments int      `json:"minArguments,omitempty"`
	MaxArguments int      `json:"maxArguments,omitempty"`
	IsDefault    bool     `json:"isDefault,omitempty"`
}

// DescribeOption reads an option as it stands in a help text: "-h --help",
// "--json=FORMAT", "-P NAME".
func DescribeOption(what, help string) OptionDescription {
	names, metavar, takes := strings.Cut(what, "=")
	o := OptionDescription{Names: strings.Fields(names), Argument: "no_argument", Metavar: metavar, Help: help}
	if len(o.Names) == 2 && !strings.HasPrefix(o.Names[1], "-") {
		o.Names, o.Metavar, takes = o.Names[:1], o.Names[1], true
	}
	if takes {
		o.Argument = "required_argument"
	}
	return o
}

// DescribeVerb describes a verb of a tool.
func DescribeVerb(v Verb, abstract string) VerbDescription {
	d := VerbDescription{Names: append([]string{v.Name}, v.Aliases...), IsDefault: v.Default}
	if abstract != "" {
		d.Abstract = []string{abstract}
	}
	if v.Min > 0 {
		d.MinArguments = v.Min + 1
	}
	if v.Max != Any {
		d.MaxArguments = v.Max + 1
	}
	return d
}

// Document is the answer to --introspect-cli as a whole.
type Document struct {
	MediaType string        `json:"mediaType"`
	Commands  []Description `json:"commands"`
}

// DocumentType names the format, which is that of systemd's tools.
const DocumentType = "application/vnd.io.systemd.cli-introspection-0"

// Print writes the description of a tool as JSON.
func (d Description) Print(w io.Writer, mode JSON) error {
	return PrintJSON(w, Document{DocumentType, []Description{d}}, mode)
}
