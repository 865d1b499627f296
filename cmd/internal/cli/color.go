package cli

import (
	"slices"
	"strings"
)

// Style is how a text looks on a terminal: the parameters of an SGR sequence.
type Style string

// The styles in use.
const (
	Plain     Style = ""
	Underline Style = "0;4"
	Red       Style = "0;1;31"
	Yellow    Style = "0;1;33"
	Green     Style = "0;1;32"
	Grey      Style = "0;38;5;245"
)

// Text returns s in that style if colors are wanted.
func (s Style) Text(text string, colors bool) string { return s.wrap(text, colors) }

func (s Style) wrap(text string, colors bool) string {
	if !colors || s == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// Colors decides whether output is coloured: $SYSTEMD_COLORS, then $NO_COLOR, then whether it goes to a terminal that
// can show them.
func Colors(getenv func(string) string, terminal bool) bool {
	if text := getenv("SYSTEMD_COLORS"); text != "" {
		if on, ok := ParseBool(text); ok {
			return on
		}
		if text = strings.TrimPrefix(text, "auto-"); slices.Contains([]string{"16", "256", "24bit"}, text) {
			return terminal || !strings.HasPrefix(getenv("SYSTEMD_COLORS"), "auto-")
		}
	}
	return getenv("NO_COLOR") == "" && terminal && getenv("TERM") != "dumb"
}

// ParseBool reads the words that systemd takes for true and false, in any case.
func ParseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "1", "yes", "y", "true", "t", "on":
		return true, true
	case "0", "no", "n", "false", "f", "off":
		return false, true
	}
	return false, false
}
