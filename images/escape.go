package images

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// escapeName makes any text a part of a file name: slash, dot, hash, quotes,
// backslash, control and non-ASCII bytes become \xHH.
func escapeName(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < 0x20 || c >= 0x7f || strings.IndexByte(`/.#"'\`, c) >= 0 {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescapeName reverses escapeName.
func unescapeName(s string) (string, error) {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(s, `\x`)
		b.WriteString(plain)
		if !found {
			return b.String(), nil
		}
		if len(rest) < 2 {
			return "", fmt.Errorf("unescape file name: cut short after %q", b.String())
		}
		c, err := hex.DecodeString(rest[:2])
		if err != nil {
			return "", fmt.Errorf("unescape file name: %w", err)
		}
		b.Write(c)
		s = rest[2:]
	}
}
