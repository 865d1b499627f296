package varlink

import (
	"fmt"
	"strings"
)

// lexer splits a description into names, the signs "->", "[]" and single
// punctuation characters. Comments run from "#" to the end of the line.
type lexer struct {
	text string
	pos  int
	line int
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// next returns "" at the end. Within an interface name dots and dashes belong
// to the word, elsewhere they do not.
func (l *lexer) next(dotted bool) (string, error) {
	l.skipSpace()
	if l.pos == len(l.text) {
		return "", nil
	}
	start := l.pos
	for l.pos < len(l.text) && (isNameByte(l.text[l.pos]) || dotted && strings.IndexByte(".-", l.text[l.pos]) >= 0) {
		l.pos++
	}
	if l.pos > start {
		return l.text[start:l.pos], nil
	}
	for _, sign := range []string{"->", "(", ")", ":", ",", "?", "[", "]"} {
		if strings.HasPrefix(l.text[start:], sign) {
			l.pos += len(sign)
			return sign, nil
		}
	}
	return "", l.errorf("unexpected character %q", l.text[start])
}

func (l *lexer) skipSpace() {
	for ; l.pos < len(l.text); l.pos++ {
		switch l.text[l.pos] {
		case '\n':
			l.line++
		case ' ', '\t', '\r':
		case '#':
			end := strings.IndexByte(l.text[l.pos:], '\n')
			if end < 0 {
				l.pos = len(l.text)
				return
			}
			l.pos += end - 1
		default:
			return
		}
	}
}

func (l *lexer) errorf(format string, args ...any) error {
	return fmt.Errorf("interface description, line %d: %s", l.line+1, fmt.Sprintf(format, args...))
}
