package images

import "strings"

// compareVersions orders two versions by the UAPI.10 specification: -1 when a
// is older than b, 1 when it is newer.
func compareVersions(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, notVersion), strings.TrimLeftFunc(b, notVersion)
		if c, end := compareMarks(&a, &b); end {
			return c
		}
		var c int
		if isDigitAt(a) || isDigitAt(b) {
			c = compareDigits(&a, &b)
		} else {
			c = compareLetters(&a, &b)
		}
		if c != 0 {
			return c
		}
	}
}

// compareMarks compares what stands before the next part: the end of the text
// and the marks "~", "-", "^" and ".", in this order of weight.
func compareMarks(a, b *string) (result int, end bool) {
	for _, mark := range []string{"~", "", "-", "^", "."} {
		inA, inB := startsWith(*a, mark), startsWith(*b, mark)
		switch {
		case inA && inB && mark == "":
			return 0, true
		case inA && inB:
			*a, *b = (*a)[1:], (*b)[1:]
			// After a mark the same choice is made anew.
			return compareMarksAgain(a, b)
		case inA:
			return -1, true
		case inB:
			return 1, true
		}
	}
	return 0, false
}

func compareMarksAgain(a, b *string) (int, bool) {
	*a, *b = strings.TrimLeftFunc(*a, notVersion), strings.TrimLeftFunc(*b, notVersion)
	return compareMarks(a, b)
}

func startsWith(s, mark string) bool {
	if mark == "" {
		return s == ""
	}
	return strings.HasPrefix(s, mark)
}

// compareDigits compares the numbers at the start as numbers of any length; no
// digits at all is less than any number.
func compareDigits(a, b *string) int {
	x, y := take(a, isDigit), take(b, isDigit)
	if (x == "") != (y == "") {
		return compareLengths(x, y)
	}
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	if c := compareLengths(x, y); c != 0 {
		return c
	}
	return strings.Compare(x, y)
}

func compareLetters(a, b *string) int {
	return strings.Compare(take(a, isLetter), take(b, isLetter))
}

func compareLengths(x, y string) int {
	switch {
	case len(x) < len(y):
		return -1
	case len(x) > len(y):
		return 1
	}
	return 0
}

// take cuts the longest run of such bytes off the start.
func take(s *string, is func(byte) bool) string {
	n := 0
	for n < len(*s) && is((*s)[n]) {
		n++
	}
	out := (*s)[:n]
	*s = (*s)[n:]
	return out
}

func isDigitAt(s string) bool { return s != "" && isDigit(s[0]) }
func isDigit(c byte) bool     { return c >= '0' && c <= '9' }
func isLetter(c byte) bool    { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// notVersion reports runes that only separate.
func notVersion(r rune) bool {
	return r >= 0x80 || !isDigit(byte(r)) && !isLetter(byte(r)) && !strings.ContainsRune("~-^.", r)
}
