package inflate

import "math/bits"

// An entry of a table says what a code stands for. From the lowest bit on:
//
//	0-5    how many bits of input code and value take together
//	8-11   how many of them are the code
//	12-15  flags
//	16-31  literal; least length or distance; or where a subtable begins
//
// Where it leads to a subtable, 0-5 are the bits that the table looks at, and 8-11
// those that the subtable does. Zero stands for no code at all.
type entry uint32

const (
	literal  entry = 1 << 12 // a byte
	special  entry = 1 << 13 // one of the two below
	subtable entry = 1 << 14
	endBlock entry = 1 << 15
)

func (e entry) size() uint     { return uint(e & 63) }
func (e entry) codeBits() uint { return uint(e>>8) & 15 }
func (e entry) value() int     { return int(e >> 16) }

const (
	literalBits  = 11 // that the tables look at first
	distanceBits = 9
	lengthBits   = 7 // of the code of code lengths, which is never longer
	maxCodeBits  = 15

	maxLiterals  = 286
	maxDistances = 30
	endSymbol    = 256
)

// The entries that symbols have, but for the bits of their codes: sections 3.2.5
// and 3.2.7 of the RFC.
var (
	literalSymbols  = newLiteralSymbols()
	distanceSymbols = newDistanceSymbols()
	lengthSymbols   = newLengthSymbols()
)

func newLiteralSymbols() (s [288]entry) {
	for b := range endSymbol {
		s[b] = literal | entry(b)<<16
	}
	s[endSymbol] = special | endBlock
	base := 3
	for i := range 28 {
		extra := max(i/4-1, 0)
		s[257+i] = entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	s[285] = 258 << 16
	return s
}

func newDistanceSymbols() (s [32]entry) {
	base := 1
	for i := range maxDistances {
		extra := max(i/2-1, 0)
		s[i] = entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	return s
}

func newLengthSymbols() (s [19]entry) {
	for i := range s {
		s[i] = literal | entry(i)<<16
	}
	return s
}

// table finds symbols by the next bits of input.
type table struct {
	entries []entry
	bits    uint // that are looked at first
}

// build makes the table of a Huffman code from the code lengths of its symbols. It
// reports whether there is such a code: not too many codes and, unless there is only
// one of a single bit, or none, not too few.
func (t *table) build(lengths []uint8, symbols []entry, tableBits uint) bool {
	var count, next [maxCodeBits + 1]int
	for _, l := range lengths {
		count[l]++
	}
	count[0] = 0
	code, longest := 0, 0
	for l := 1; l <= maxCodeBits; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
		if count[l] > 0 {
			longest = l
		}
	}
	t.bits = tableBits
	t.entries = append(t.entries[:0], make([]entry, 1<<tableBits)...)
	if longest == 0 {
		return true
	}
	if end := next[longest] + count[longest]; end != 1<<longest && (end != 1 || longest != 1) {
		return false
	}
	for symbol, l := range lengths {
		if l > 0 {
			t.add(symbols[symbol], next[l], uint(l), uint(longest))
			next[l]++
		}
	}
	return true
}

// add enters a code of l bits, of which the first is the highest; input has it at
// the lowest.
func (t *table) add(symbol entry, code int, l, longest uint) {
	reversed := int(bits.Reverse16(uint16(code)) >> (16 - l))
	if symbol == 0 {
		return // has a code, but stands for nothing
	}
	if l <= t.bits {
		e := symbol + entry(l) | entry(l)<<8
		for i := reversed; i < 1<<t.bits; i += 1 << l {
			t.entries[i] = e
		}
		return
	}
	root := reversed & (1<<t.bits - 1)
	if t.entries[root] == 0 {
		t.entries[root] = special | subtable | entry(longest-t.bits)<<8 | entry(t.bits) | entry(len(t.entries))<<16
		t.entries = append(t.entries, make([]entry, 1<<(longest-t.bits))...)
	}
	l -= t.bits
	e := symbol + entry(l) | entry(l)<<8
	sub := t.entries[t.entries[root].value():]
	for i := reversed >> t.bits; i < 1<<(longest-t.bits); i += 1 << l {
		sub[i] = e
	}
}
