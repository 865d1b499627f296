package images

import "strings"

// KeyValue is one assignment of an os-release or machine-info file.
type KeyValue struct{ Key, Value string }

// maxAssignments bounds what is taken from one file.
const maxAssignments = 512

// ParseOSRelease reads the assignments of a file in the format of os-release(5):
// KEY=VALUE lines with the quotes of a shell, and comments. They come in the
// order of the file; a later assignment of the same key changes the value in its
// place. Lines that are no assignment, and text that is no UTF-8, are left out.
func ParseOSRelease(data []byte) []KeyValue {
	var out []KeyValue
	at := map[string]int{}
	s := scanner(data)
	for len(s) > 0 && len(out) < maxAssignments {
		s.skip(" \t\r\n")
		if s.peek() == '#' || s.peek() == ';' {
			s.line()
			continue
		}
		key, ok := s.key()
		if !ok {
			s.line()
			continue
		}
		value := strings.ToValidUTF8(s.value(), "")
		if i, ok := at[key]; ok {
			out[i].Value = value
			continue
		}
		at[key] = len(out)
		out = append(out, KeyValue{key, value})
	}
	return out
}

// scanner is the text that is not read yet.
type scanner []byte

func (s *scanner) peek() byte {
	if len(*s) == 0 {
		return 0
	}
	return (*s)[0]
}

func (s *scanner) skip(set string) {
	for len(*s) > 0 && strings.IndexByte(set, (*s)[0]) >= 0 {
		*s = (*s)[1:]
	}
}

// line drops the rest of the line.
func (s *scanner) line() {
	for len(*s) > 0 && (*s)[0] != '\n' {
		*s = (*s)[1:]
	}
}

// key reads a variable name and the "=" behind it.
func (s *scanner) key() (string, bool) {
	n := 0
	for n < len(*s) && (isLetter((*s)[n]) || (*s)[n] == '_' || n > 0 && isDigit((*s)[n])) {
		n++
	}
	if n == 0 || n == len(*s) || (*s)[n] != '=' {
		return "", false
	}
	key := string((*s)[:n])
	*s = (*s)[n+1:]
	return key, true
}

// value reads up to the end of the line that stands outside of quotes. White
// space at the end counts only where it is quoted.
func (s *scanner) value() string {
	var b strings.Builder
	keep := 0
	s.skip(" \t")
	for len(*s) > 0 {
		c := (*s)[0]
		*s = (*s)[1:]
		switch c {
		case '\n':
			return b.String()[:keep]
		case '\'', '"':
			s.quoted(&b, c)
		case '\\':
			if s.peek() != '\n' && len(*s) > 0 {
				b.WriteByte(s.peek())
			}
			*s = (*s)[min(1, len(*s)):]
		default:
			b.WriteByte(c)
			if c == ' ' || c == '\t' || c == '\r' {
				continue
			}
		}
		keep = b.Len()
	}
	return b.String()[:keep]
}

// quoted reads up to the closing quote. In double quotes a backslash takes the
// meaning from the characters that have one there.
func (s *scanner) quoted(b *strings.Builder, quote byte) {
	for len(*s) > 0 {
		c := (*s)[0]
		*s = (*s)[1:]
		if c == quote {
			return
		}
		if c == '\\' && quote == '"' && len(*s) > 0 {
			next := (*s)[0]
			*s = (*s)[1:]
			if next == '\n' {
				continue
			}
			if strings.IndexByte("\"\\`$", next) < 0 {
				b.WriteByte(c)
			}
			c = next
		}
		b.WriteByte(c)
	}
}
