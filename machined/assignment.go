package machined

import (
	"fmt"
	"strings"
)

// nextAssignment reads one line of shell-like assignments from the front of s
// and returns what comes after it. Empty lines and comments give an empty key.
// A quoted value may go over several lines; nothing is expanded.
func nextAssignment(s string) (key, value, rest string, err error) {
	line, after, _ := strings.Cut(s, "\n")
	trimmed := strings.TrimLeft(line, " \t")
	if strings.TrimSpace(trimmed) == "" || trimmed[0] == '#' || trimmed[0] == ';' {
		return "", "", after, nil
	}
	key, _, found := strings.Cut(trimmed, "=")
	if !found || !validKey(key) {
		return "", "", "", fmt.Errorf("%w: no assignment in %.40q", errCorrupt, line)
	}
	begin := strings.IndexByte(s, '=') + 1
	value, used, err := readValue(s[begin:])
	if err != nil {
		return "", "", "", fmt.Errorf("%w: %s: %w", errCorrupt, key, err)
	}
	return key, value, s[begin+used:], nil
}

func validKey(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' {
			return false
		}
	}
	return s != ""
}

// readValue reads up to the newline that ends the value and says how many bytes
// that were, the newline included. White space at the end counts only in quotes.
func readValue(s string) (value string, used int, err error) {
	var b strings.Builder
	quote, keep := byte(0), 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\n' && quote == 0:
			return b.String()[:keep], i + 1, nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
			keep = b.Len()
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			if quote == '"' && strings.IndexByte(needEscape, s[i]) < 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
			keep = b.Len()
		default:
			b.WriteByte(c)
			if quote != 0 || strings.IndexByte(" \t\r", c) < 0 {
				keep = b.Len()
			}
		}
	}
	if quote != 0 {
		return "", 0, fmt.Errorf("the quote %c is not closed", quote)
	}
	return b.String()[:keep], len(s), nil
}
