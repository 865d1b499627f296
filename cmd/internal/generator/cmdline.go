package generator

import "strings"

// words splits a kernel command line at white space that is not quoted. Quotes may
// begin within a word and are taken off; one that is never closed goes to the end.
func words(text string) []string {
	var list []string
	var word strings.Builder
	var quote rune
	begun := false
	end := func() {
		if begun {
			list = append(list, word.String())
			word.Reset()
			begun = false
		}
	}
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, begun = c, true
		case strings.ContainsRune(" \t\n\r", c):
			end()
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	end()
	return list
}
