package cli

import "time"

// Cell is a text for the table and a value for its JSON.
type Cell struct {
	Text  string
	Value any
	Style Style

	unknown bool
}

// Unknown is what is not known: null.
func Unknown() Cell { return Cell{unknown: true} }

// String is a text as it is.
func String(s string) Cell { return Cell{Text: s, Value: s} }

// KnownString is a text, unknown when empty.
func KnownString(s string) Cell {
	if s == "" {
		return Unknown()
	}
	return String(s)
}

// Bool shows one of two words for true and false.
func Bool(b bool, yes, no string) Cell {
	if b {
		return Cell{Text: yes, Value: b}
	}
	return Cell{Text: no, Value: b}
}

// Bytes is a size; the largest number means unknown.
func Bytes(n uint64) Cell {
	if n == UnknownSize {
		return Unknown()
	}
	return Cell{Text: FormatBytes(n), Value: n}
}

// Time is a point in time, microseconds since 1970 in JSON. The zero time is "-" and 0.
func Time(t time.Time, zone *time.Location) Cell {
	if t.IsZero() {
		return Cell{Text: "-", Value: 0}
	}
	return Cell{Text: FormatTime(t, zone), Value: t.UnixMicro()}
}
