// Package console is what the command-line tools talk to: the standard streams
// of their process, with or without a terminal behind them. It joins the formats
// of package cli to the environment.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"berth/cmd/internal/cli"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Console is the standard streams of a tool and how to write to them.
type Console struct {
	// Tool is the name that messages begin with.
	Tool string
	// NoPager writes lists straight to standard output.
	NoPager bool
	// Quiet shows warnings and errors only.
	Quiet bool
	// Listed is set when an option was asked what it takes: nothing else is done.
	Listed bool

	Stdin, Stdout, Stderr *os.File
	Getenv                func(string) string
}

// New returns the console of this process.
func New(tool string) *Console {
	return &Console{Tool: tool, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
}

// IsTerminal says whether a stream leads to a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Colors says whether standard output is coloured.
func (c *Console) Colors() bool { return cli.Colors(c.Getenv, IsTerminal(c.Stdout)) }

// Page shows what a function writes, through a pager on a terminal.
func (c *Console) Page(ctx context.Context, show func(io.Writer) error) (err error) {
	w, err := cli.StartPager(ctx, cli.PagerOptions{
		Stdout: c.Stdout, Stderr: c.Stderr, Terminal: IsTerminal(c.Stdout), Disabled: c.NoPager,
		Environ: os.Environ(), Getenv: c.Getenv, Secure: c.Getenv("SUDO_UID") != "",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return show(w)
}

// JSON is what the option -j stands for: made for people on a terminal, for
// programs otherwise.
func (c *Console) JSON() cli.JSON {
	if IsTerminal(c.Stdout) {
		return cli.JSONPretty
	}
	return cli.JSONShort
}

// Fail says what went wrong in one line and returns the exit status.
func (c *Console) Fail(err error) int {
	status := cli.ExitStatus(err)
	if exit, ok := errors.AsType[*cli.Exit](err); err == nil || ok && exit.Err == nil {
		return status
	}
	fmt.Fprintln(c.Stderr, c.styled(priorityError, c.Tool+": "+OneLine(err)))
	return status
}

// Unreachable explains why a daemon could not be connected to.
func Unreachable(daemon, socket string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s is not running: nobody listens at %s", daemon, socket)
	}
	return err
}

// OneLine returns the text of an error, of joined ones side by side.
func OneLine(err error) string {
	return cli.Printable(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
}

// List is a table and the word for what it counts.
type List struct {
	*cli.Table
	// Things is in the plural: "images".
	Things string
	JSON   cli.JSON
	// NoLegend leaves out heading and count.
	NoLegend bool
}

// Show prints a list as text or as JSON.
func (c *Console) Show(ctx context.Context, l List) error {
	return c.Page(ctx, func(w io.Writer) error {
		if l.JSON != cli.JSONOff {
			return l.Table.JSON(w, l.JSON)
		}
		if l.Len() > 0 {
			if err := l.Print(w, cli.PrintOptions{NoHeading: l.NoLegend, Colors: c.Colors()}); err != nil {
				return err
			}
		}
		if l.NoLegend {
			return nil
		}
		text := fmt.Sprintf("\n%d %s listed.\n", l.Len(), l.Things)
		if l.Len() == 0 {
			text = fmt.Sprintf("No %s.\n", l.Things)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return fmt.Errorf("print list: %w", err)
		}
		return nil
	})
}
