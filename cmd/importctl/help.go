package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"berth/cmd/internal/cli"
)

const abstract = "Bring images of operating systems into this host, or take them out."

// helpLine is an entry of the help text; text may have several lines.
type helpLine struct{ what, text string }

// helpSection is some of them under a heading.
type helpSection struct {
	heading string
	lines   []helpLine
}

var verbHelp = helpSection{"Commands", []helpLine{
	{"pull-tar URL [NAME]", "Download an archive of a directory tree"},
	{"pull-raw URL [NAME]", "Download a disk image"},
	{"pull-oci REF [NAME]", "Download an image from a container registry,\nby way of systemd's importd only"},
	{"import-tar FILE [NAME]", "Unpack an archive of a directory tree"},
	{"import-raw FILE [NAME]", "Take a disk image"},
	{"import-fs DIRECTORY [NAME]", "Copy a directory tree"},
	{"export-tar NAME [FILE]", "Pack a directory tree"},
	{"export-raw NAME [FILE]", "Write a disk image"},
	{"list-transfers", "Show what is on its way (default)"},
	{"cancel-transfer ID…", "End transfers and remove what they made"},
	{"list-images", "Show the images of all classes"},
	{"help", "Show this text"},
}}

var optionHelp = []helpSection{
	{"Which images", []helpLine{
		{"--class=CLASS", "machine, portable, sysext or confext"},
		{"-m", "Machines: containers and virtual machines"},
		{"-P", "Portable services"},
		{"-S", "Extensions of /usr and /opt"},
		{"-C", "Extensions of /etc"},
	}},
	{"How they come and go", []helpLine{
		{"--verify=MODE", "What a download must prove: no, checksum\nor signature (default)"},
		{"--force", "Replace an image of the same name"},
		{"--read-only", "Make the image read-only"},
		{"--keep-download=BOOL", "Keep the download as it came, for the next\npull of the same URL (default for machines)"},
		{"-N", "The same as --keep-download=no"},
		{"--format=FORMAT", "Compression of an export: uncompressed, xz,\ngzip, bzip2 or zstd (default: as the suffix\nof FILE says)"},
	}},
	{"What is shown", []helpLine{
		{"-q --quiet", "Warnings and errors only"},
		{"--json=MODE", "Lists as JSON: pretty, short or off"},
		{"-j", "Lists as JSON, pretty on a terminal"},
		{"--no-legend", "Lists without heading and count"},
		{"--no-pager", "Lists straight to the terminal"},
		{"-h --help", "Show this text"},
		{"--version", "Show the version"},
	}},
	{"Whose images", []helpLine{
		{"-H --host=[USER@]HOST", "Those of another host, by way of ssh"},
		{"-M --machine=CONTAINER", "Those of a container of this host"},
		{"--system", "Those of the system (default)"},
		{"--user", "Those of this user"},
		{"--no-ask-password", "Do not ask for passwords"},
	}},
}

const helpEnd = `'-' for FILE is standard input or output. Without NAME an image is named after
what URL, FILE or DIRECTORY ends with; pull-… URL - keeps the download only.
Ctrl-C leaves a transfer running. Exit status: 0 if all went well, 1 if not.
`

// helpColumn is where the explanations begin.
const helpColumn = 34

func (t *tool) showHelp(ctx context.Context, _ []string) error {
	return t.Page(ctx, func(w io.Writer) error {
		var text strings.Builder
		fmt.Fprintf(&text, "importctl [OPTIONS…] COMMAND …\n\n%s\n\n", abstract)
		verbHelp.write(&text)
		for _, section := range optionHelp {
			section.write(&text)
		}
		text.WriteString(helpEnd)
		if _, err := io.WriteString(w, text.String()); err != nil {
			return fmt.Errorf("print help: %w", err)
		}
		return nil
	})
}

func (s helpSection) write(w io.Writer) {
	fmt.Fprintf(w, "%s:\n", s.heading)
	for _, line := range s.lines {
		what := line.what
		if strings.HasPrefix(what, "--") {
			what = "   " + what // below the long names of those with a letter
		}
		for part := range strings.SplitSeq(line.text, "\n") {
			fmt.Fprintf(w, "  %-*s%s\n", helpColumn-2, what, part)
			what = ""
		}
	}
	fmt.Fprintln(w)
}

// describe prints the same for programs.
func (t *tool) describe() error {
	d := cli.Description{Names: []string{t.Tool}, Project: "berth", Version: version, Abstract: []string{abstract}}
	for _, section := range optionHelp {
		for _, line := range section.lines {
			d.Options = append(d.Options, cli.DescribeOption(line.what, oneLine(line.text)))
		}
	}
	for _, v := range t.verbs() {
		for _, line := range verbHelp.lines {
			if name, _, _ := strings.Cut(line.what, " "); name == v.Name {
				d.Verbs = append(d.Verbs, cli.DescribeVerb(v, oneLine(line.text)))
			}
		}
	}
	return d.Print(t.Stdout, t.JSON())
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }
