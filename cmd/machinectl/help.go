package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// helpLine explains a verb with its arguments, or an option.
type helpLine struct{ what, text string }

// helpSection is a list under a heading.
type helpSection struct {
	heading string
	lines   []helpLine
}

const helpIntroduction = "Show and control the machines of this host and their images."

var machineHelp = helpSection{"Machine Commands", []helpLine{
	{"list", "Show the machines that run (default)"},
	{"status NAME…", "Describe machines"},
	{"show [NAME…]", "Print properties of machines, or of machined"},
	{"start NAME…", "Start machines from the images of their names"},
	{"login [NAME]", "Log in to a machine, or to this host"},
	{"shell [[USER@]NAME [COMMAND…]]", "Open a shell, or run another program, on a terminal of a machine or of this host"},
	{"exec [USER@]NAME COMMAND…", "Run a command in a machine, with these standard streams and its exit status"},
	{"enable NAME…", "Have machines started at boot"},
	{"disable NAME…", "Have machines not started at boot any more"},
	{"poweroff NAME…", "Tell machines to power off (also: stop)"},
	{"reboot NAME…", "Tell machines to reboot (also: restart)"},
	{"pause NAME…", "Halt virtual machines for a while"},
	{"resume NAME…", "Let halted virtual machines go on"},
	{"terminate NAME…", "End machines at once"},
	{"kill NAME…", "Send a signal to processes of machines"},
	{"forget NAME…", "Take machines from the list, and leave their processes alone"},
	{"copy-to NAME PATH [PATH]", "Copy files of this host into a machine"},
	{"copy-from NAME PATH [PATH]", "Copy files of a machine to this host"},
	{"bind NAME PATH [PATH]", "Mount a path of this host in a machine"},
}}

var imageHelp = helpSection{"Image Commands", []helpLine{
	{"list-images", "Show the images of machines"},
	{"image-status [NAME…]", "Describe images, or the pool"},
	{"show-image [NAME…]", "Print properties of images, or of machined"},
	{"edit NAME|FILE…", "Change the settings of containers in an editor"},
	{"cat NAME|FILE…", "Print the settings of containers"},
	{"clone NAME NAME", "Copy an image"},
	{"rename NAME NAME", "Give an image another name"},
	{"read-only NAME [BOOL]", "Make an image read-only, or writable again"},
	{"remove NAME…", "Remove images"},
	{"set-limit [NAME] BYTES", "Limit the size of an image, or of all together"},
	{"clean", "Remove hidden images, with --all all images"},
	{"bind-volume MACHINE PROVIDER:VOLUME[:…]", "Attach a volume to a virtual machine"},
	{"unbind-volume MACHINE PROVIDER:VOLUME", "Detach a volume from a virtual machine"},
}}

var optionHelp = helpSection{"Options", []helpLine{
	{"-h --help", "Show this text"},
	{"   --version", "Show the version"},
	{"-H --host=[USER@]HOST", "The machines of another host, by ssh"},
	{"-M --machine=CONTAINER", "The machines inside a container"},
	{"   --system", "The machines of the system (default)"},
	{"   --user", "The machines of the user who calls"},
	{"   --value", "Values without the names of the properties"},
	{"-p --property=NAME", "Only these properties"},
	{"-P NAME", "The same as --value --property=NAME"},
	{"-a --all", "Hidden machines and images, and properties that are not set"},
	{"-l --full", "All addresses in lists"},
	{"   --kill-whom=WHOM", "leader, supervisor or all (default)"},
	{"-s --signal=SIGNAL", "Signal to send (default: SIGTERM); list shows them"},
	{"   --uid=USER", "User for shell and exec (default: root)"},
	{"-E --setenv=VAR[=VALUE]", "Environment variable for shell and exec"},
	{"   --working-directory=DIR", "Directory for exec (default: the user's home)"},
	{"   --read-only", "Make a clone or a mount read-only"},
	{"   --mkdir", "Make the directory to mount on if there is none"},
	{"-n --lines=INTEGER", "Lines of the journal in status (default: 10)"},
	{"   --max-addresses=INTEGER", "At most this number of addresses in lists, or all (default: 1)"},
	{"-o --output=STRING", "How lines of the journal look (help shows the ways); json and json-pretty print lists as JSON"},
	{"   --json=MODE", "Lists as JSON: pretty, short or off"},
	{"-j", "Lists as JSON, pretty on a terminal"},
	{"   --force", "Replace files that are there already when copying"},
	{"   --now", "Start what is enabled, power off what is disabled"},
	{"   --runner=RUNNER", "What runs the machine: nspawn (default) or vmspawn"},
	{"-V", "The same as --runner=vmspawn"},
	{"   --no-pager", "Everything straight to the terminal"},
	{"   --no-legend", "Lists without heading and count"},
	{"   --no-ask-password", "Do not ask for passwords"},
	{"-q --quiet", "Say less"},
}}

const helpEnd = `
Images come and go with importctl(1): pull-tar, pull-raw, import-tar, import-raw,
import-fs, export-tar, export-raw, list-transfers and cancel-transfer are passed
on to it, with --read-only, --force, --verify=MODE and --format=FORMAT.

What stands behind the machine of exec, and behind the command of shell, belongs
to the command; '--' may stand between. Three times ^] within a second leaves the
terminal of a machine.

Exit status: 0 if all went well, 1 if not. exec ends with the exit status of the
command, with 128 and more if a signal ended it; with 127 if the machine has no
such command, with 126 if the command cannot be run there, and with 125 if it
came to neither, such as when there is no such machine.
`

// Columns of the help text.
const (
	helpColumn = 30
	helpWidth  = 80
)

func (t *tool) showHelp(ctx context.Context, _ []string) error {
	return t.Page(ctx, func(w io.Writer) error {
		var out strings.Builder
		fmt.Fprintf(&out, "machinectl [OPTION…] COMMAND …\n\n%s\n", helpIntroduction)
		for _, s := range []helpSection{machineHelp, imageHelp, optionHelp} {
			s.print(&out)
		}
		if _, err := io.WriteString(w, out.String()+helpEnd); err != nil {
			return fmt.Errorf("print help: %w", err)
		}
		return nil
	})
}

// print writes two columns; what does not fit into one goes on in the next line.
func (s helpSection) print(out *strings.Builder) {
	fmt.Fprintf(out, "\n%s:\n", s.heading)
	for _, line := range s.lines {
		lead := line.what
		if n := utf8.RuneCountInString(lead); n < helpColumn {
			lead += strings.Repeat(" ", helpColumn-n)
		} else {
			lead += "\n  " + strings.Repeat(" ", helpColumn)
		}
		text := wrap(line.text, helpWidth-helpColumn-3)
		indent := "\n" + strings.Repeat(" ", helpColumn+3)
		fmt.Fprintf(out, "  %s %s\n", lead, strings.Join(text, indent))
	}
}

// wrap breaks a text into lines between words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line+" "+word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
