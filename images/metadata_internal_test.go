package images

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzMetadata: what an image says of itself goes to terminals and over buses.
func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{"# who\n vm \n", "71db6128bb984f5d9415fb008e595b26\n", "uninitialized\n", "\x1b[2J\n", "\xff", "a/b", strings.Repeat("x", 65)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		name := parseHostname(data)
		if len(name) > hostnameMax || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '/' }) {
			t.Errorf("host name %q", name)
		}
		if id := parseMachineID(data); id != [16]byte{} && len(strings.TrimSpace(string(data))) != 32 {
			t.Errorf("machine id %x of %q", id, data)
		}
	})
}
