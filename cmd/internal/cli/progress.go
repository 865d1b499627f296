package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	redrawEvery = 100 * time.Millisecond
	plainStep   = 10 // percent between lines in a pipe
	minBar      = 10
)

// Progress shows how far something has come: a bar that is redrawn on a terminal, a line for every ten percent in a
// pipe. It is for one goroutine.
type Progress struct {
	Label string
	// Out is standard error as a rule.
	Out io.Writer
	// Width returns the columns of the terminal; nil: Out is none.
	Width  func() int
	Colors bool
	// Now is the clock.
	Now func() time.Time

	shown   float64
	percent int
	drawn   string // what is on the line now
	at      time.Time
}

// Set reports the share that is done, 0 to 1. A share that falls back is not shown. The bar follows in part steps, so
// that it moves steadily under reports that jump.
func (p *Progress) Set(share float64) {
	share = min(max(share, p.shown), 1)
	if p.Width == nil {
		p.shown = share
		p.plain()
		return
	}
	now := p.Now()
	if share < 1 {
		if now.Sub(p.at) < redrawEvery {
			return
		}
		if !p.at.IsZero() {
			share = p.shown + (share-p.shown)/2
		}
	}
	p.shown, p.at = share, now
	p.draw()
}

// Count shows on a terminal how much is done where nobody knows of how much, in place of the bar.
func (p *Progress) Count(done string) {
	if p.Width == nil {
		return
	}
	if now := p.Now(); now.Sub(p.at) >= redrawEvery {
		p.at = now
		p.put(p.Label + " " + done)
	}
}

func (p *Progress) plain() {
	if percent := int(p.shown * 100); percent >= p.percent+plainStep || percent == 100 && p.percent < 100 {
		p.percent = percent
		fmt.Fprintf(p.Out, "%s %d%%\n", p.Label, percent)
	}
}

func (p *Progress) draw() {
	width := p.Width()
	text := fmt.Sprintf("%s %3d%%", p.Label, int(p.shown*100))
	if room := width - len(text) - 2; room >= minBar {
		full := int(p.shown * float64(room))
		bar := Green.wrap(strings.Repeat("━", full), p.Colors) + Grey.wrap(strings.Repeat("─", room-full), p.Colors)
		text = fmt.Sprintf("%s %s %3d%%", p.Label, bar, int(p.shown*100))
	}
	p.put(text)
}

func (p *Progress) put(text string) {
	if text != p.drawn {
		fmt.Fprintf(p.Out, "\r%s\x1b[K", text)
		p.drawn = text
	}
}

// Line prints a line above the bar.
func (p *Progress) Line(text string) {
	drawn := p.drawn
	p.Clear()
	fmt.Fprintln(p.Out, text)
	if drawn != "" {
		p.draw()
	}
}

// Clear takes the bar away.
func (p *Progress) Clear() {
	if p.drawn != "" {
		fmt.Fprint(p.Out, "\r\x1b[K")
		p.drawn = ""
	}
}
