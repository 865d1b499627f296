package verify

import "strings"

// digits is the length of a digest in a list.
const digits = 2 * len(Digest{})

// parseLine reads one line without its end. The name is "" for a digest alone;
// ok is false for lines that are none of ours.
func parseLine(line string) (name string, d Digest, ok bool) {
	line, escaped := strings.CutPrefix(line, `\`)
	name, hex, ok := splitTagged(line)
	if !ok {
		name, hex, ok = splitPlain(line)
	}
	if !ok {
		return "", Digest{}, false
	}
	d, err := ParseDigest(hex)
	if err != nil {
		return "", Digest{}, false
	}
	if escaped {
		if name, ok = unescape(name); !ok {
			return "", Digest{}, false
		}
	}
	return strings.TrimPrefix(name, "./"), d, true
}

// splitTagged reads "SHA256 (NAME) = HEX".
func splitTagged(line string) (name, hex string, ok bool) {
	rest, ok := strings.CutPrefix(line, "SHA256 (")
	if !ok {
		return "", "", false
	}
	end := strings.LastIndex(rest, ") = ")
	if end < 1 {
		return "", "", false
	}
	return rest[:end], strings.TrimRight(rest[end+len(") = "):], " \t"), true
}

// splitPlain reads "HEX *NAME", "HEX  NAME", "HEX NAME", "HEX  -" and "HEX".
func splitPlain(line string) (name, hex string, ok bool) {
	if len(line) < digits {
		return "", "", false
	}
	hex, rest := line[:digits], line[digits:]
	if strings.TrimRight(rest, " \t") == "" {
		return "", hex, true
	}
	if rest[0] != ' ' {
		return "", "", false
	}
	name = rest[1:]
	if name[0] == ' ' || name[0] == '*' {
		name = name[1:]
	}
	switch name {
	case "":
		return "", "", false
	case "-":
		return "", hex, true
	default:
		return name, hex, true
	}
}

// unescape undoes what sha256sum does to names with a backslash, LF or CR.
func unescape(name string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '\\' {
			out.WriteByte(name[i])
			continue
		}
		if i++; i == len(name) {
			return "", false
		}
		switch name[i] {
		case '\\':
			out.WriteByte('\\')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		default:
			return "", false
		}
	}
	return out.String(), true
}
