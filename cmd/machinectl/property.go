package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/cmd/internal/cli"
)

// property is one line of show.
type property struct{ name, value string }

// printProperties writes those that were asked for, or all that are set, in the
// order of the list.
func (t *tool) printProperties(w io.Writer, list []property) error {
	for _, p := range list {
		if !t.wanted(p) {
			continue
		}
		text := p.name + "=" + p.value
		if strings.ContainsFunc(p.value, func(r rune) bool { return r < ' ' }) {
			text = p.name + "=[unprintable]"
		}
		if t.value {
			text = text[len(p.name)+1:]
		}
		if _, err := fmt.Fprintln(w, cli.Printable(text)); err != nil {
			return fmt.Errorf("print property: %w", err)
		}
	}
	return nil
}

// wanted understands NAME and NAME=VALUE, which prints the property only if it
// has that value.
func (t *tool) wanted(p property) bool {
	if len(t.properties) == 0 {
		return p.value != "" || t.all
	}
	return slices.Contains(t.properties, p.name) || slices.Contains(t.properties, p.name+"="+p.value)
}

// objects prints several lists of properties with a blank line between them.
func (t *tool) objects(w io.Writer, lists [][]property) error {
	for i, list := range lists {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return fmt.Errorf("print property: %w", err)
			}
		}
		if err := t.printProperties(w, list); err != nil {
			return err
		}
	}
	return nil
}

// unset is what stands for a number that is not known.
const unset = "18446744073709551615"

// knownText is a size, or unset.
func knownText(n *uint64, unset string) string {
	if n == nil {
		return unset
	}
	return strconv.FormatUint(*n, 10)
}

// timeText is empty for a moment that is not known.
func timeText(microseconds *int64, zone *time.Location) string {
	if microseconds == nil || *microseconds == 0 {
		return ""
	}
	return cli.FormatTime(time.UnixMicro(*microseconds), zone)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
