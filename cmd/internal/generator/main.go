package generator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"
)

// Name is the name by which the program is called.
const Name = "systemd-import-generator"

// Main writes units into the first of the three directories that a service manager
// passes. It returns the exit status: 1 if something could not be written; what
// cannot be understood is told and passed over.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if len(args) != 3 {
		fmt.Fprintf(os.Stderr, "%s: it takes three directories, normal, early and late, as a service manager passes them\n", Name)
		return 1
	}
	g := &generation{host: host{"/", os.Getenv}, warnings: os.Stderr}
	if err := g.run(ctx, args[0]); err != nil {
		g.warn("%v", err)
		return 1
	}
	return 0
}

// generation is one run.
type generation struct {
	host     host
	warnings io.Writer
	wanted   []download
	// success and failure are what is done after a download, empty for nothing.
	success, failure string
}

func (g *generation) run(ctx context.Context, dir string) error {
	if err := g.readCommandLine(); err != nil {
		g.warn("Cannot read the kernel command line: %v", err)
	}
	if err := g.readCredential(ctx); err != nil {
		g.warn("Cannot read the credential %s: %v", credential, err)
	}
	var failed []error
	for _, d := range g.wanted {
		failed = append(failed, g.write(dir, d))
	}
	return errors.Join(failed...)
}

// readCommandLine takes the keys that begin with "rd." in an initrd, and the others
// elsewhere.
func (g *generation) readCommandLine() error {
	items, err := g.host.commandLine()
	for _, item := range items {
		key, value, given := strings.Cut(item, "=")
		key, inner := strings.CutPrefix(key, "rd.")
		if inner != g.host.inInitrd() {
			continue
		}
		key = strings.ReplaceAll(key, "-", "_")
		target := map[string]*string{"systemd.pull.success_action": &g.success, "systemd.pull.failure_action": &g.failure}[key]
		switch {
		case key != "systemd.pull" && target == nil:
		case !given:
			g.warn("%s= needs a value", key)
		case target != nil && strings.ContainsFunc(value, func(c rune) bool { return c == '\\' || unicode.IsControl(c) }):
			g.warn("Passing over %s=%q", key, value)
		case target != nil:
			*target = value
		default:
			g.add(value)
		}
	}
	return err
}

// readCredential has one expression a line, with comments.
func (g *generation) readCredential(ctx context.Context) error {
	text, err := g.host.credential(ctx)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			g.add(line)
		}
	}
	return err
}

// add takes one expression. One that makes no sense does not spoil the others.
func (g *generation) add(expression string) {
	d, err := parse(expression, g.host, g.warn)
	switch {
	case errors.Is(err, errNoOrigin):
	case err != nil:
		g.warn("Passing over %q: %v", expression, err)
	default:
		g.wanted = append(g.wanted, d)
	}
}

func (g *generation) warn(format string, args ...any) {
	fmt.Fprintf(g.warnings, Name+": "+format+"\n", args...)
}
