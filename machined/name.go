package machined

import (
	"fmt"
	"strings"
)

// HostName is the name of the machine that stands for the host itself. It is
// accepted in look-ups and never registered.
const HostName = ".host"

// maxName is HOST_NAME_MAX of Linux, in bytes.
const maxName = 64

// ValidName returns an error that wraps [ErrInvalidName] unless s can name a
// machine: labels of ASCII letters, digits and inner hyphens, joined by single
// dots, at most 64 bytes.
func ValidName(s string) error {
	if s == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	}
	if len(s) > maxName {
		return fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrInvalidName, len(s), maxName)
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return fmt.Errorf("%w %q", ErrInvalidName, s)
		}
	}
	return nil
}

func validLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// ScopeName is the unit that holds the machine of the given name when the unit
// is made for it: "machine-NAME.scope", NAME escaped by [EscapeUnit].
func ScopeName(machine string) string {
	return "machine-" + EscapeUnit(machine) + ".scope"
}

// serviceName is the same where the unit has to be a service.
func serviceName(machine string) string {
	return "machine-" + EscapeUnit(machine) + ".service"
}

// EscapeUnit writes s so that it can be a part of a unit name: "/" becomes "-",
// and a leading dot and every byte that is not alphanumeric, ":", "_" or "."
// becomes \xHH.
func EscapeUnit(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '/':
			b.WriteByte('-')
		case isAlnum(c) || c == ':' || c == '_' || c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
