package console

import (
	"fmt"
	"time"

	"berth/cmd/internal/cli"

	"golang.org/x/term"
)

// Syslog priorities that change how a message looks.
const (
	priorityError   = 3
	priorityWarning = 4
	priorityNotice  = 5
)

// fallbackWidth is for terminals that do not know how wide they are.
const fallbackWidth = 80

// Monitor shows on standard error how something goes on that takes a while:
// messages by their syslog priority, and a progress bar below them on a terminal.
type Monitor struct {
	console  *Console
	progress *cli.Progress
}

// Monitor begins to show something; the label stands before the bar.
func (c *Console) Monitor(label string) *Monitor {
	m := &Monitor{console: c}
	if c.Quiet {
		return m
	}
	m.progress = &cli.Progress{Label: label, Out: c.Stderr, Now: time.Now}
	if IsTerminal(c.Stderr) && c.Getenv("TERM") != "dumb" {
		m.progress.Colors = cli.Colors(c.Getenv, true)
		m.progress.Width = func() int {
			width, _, err := term.GetSize(int(c.Stderr.Fd()))
			if err != nil || width <= 0 {
				return fallbackWidth
			}
			return width
		}
	}
	return m
}

// Log shows a message, if the console is quiet only from warnings on.
func (m *Monitor) Log(priority int, text string) {
	if m.console.Quiet && priority > priorityWarning || priority > 6 {
		return
	}
	text = m.console.styled(priority, cli.Printable(text))
	if m.progress == nil {
		fmt.Fprintln(m.console.Stderr, text)
		return
	}
	m.progress.Line(text)
}

// Set shows how much is done, 0 to 1.
func (m *Monitor) Set(share float64) {
	if m.progress != nil && share >= 0 {
		m.progress.Set(share)
	}
}

// Count shows how much is done where nobody knows of how much.
func (m *Monitor) Count(done string) {
	if m.progress != nil {
		m.progress.Count(done)
	}
}

// End takes the bar away.
func (m *Monitor) End() {
	if m.progress != nil {
		m.progress.Clear()
	}
}

func (c *Console) styled(priority int, text string) string {
	style := cli.Plain
	switch {
	case priority <= priorityError:
		style = cli.Red
	case priority == priorityWarning:
		style = cli.Yellow
	case priority > priorityNotice+1:
		style = cli.Grey
	}
	return style.Text(text, cli.Colors(c.Getenv, IsTerminal(c.Stderr)))
}
