package compress

// The marks of bzip2: 48 bits that begin a block, and those that end a stream. Both
// stand at any bit.
const (
	bzip2BlockMark = 0x314159265359 // of pi
	bzip2FinalMark = 0x177245385090 // of its root
	bzip2MarkBits  = 48
)

// markTable tells by single bytes where marks can be: the value for the byte k+1
// after the one in which a mark begins has a bit for each place in that where it
// may begin: those of a block mark in the lower half, of a final mark in the upper.
// These five bytes belong to the mark wholly, wherever it begins.
type markTable [5][256]uint16

var bzip2Marks = newMarkTable()

func newMarkTable() (t markTable) {
	for kind, mark := range []uint64{bzip2BlockMark, bzip2FinalMark} {
		for shift := range 8 {
			window := mark << (64 - bzip2MarkBits - shift)
			for k := range t {
				b := byte(window >> (48 - 8*k))
				t[k][b] |= 1 << (8*kind + shift)
			}
		}
	}
	return t
}

// find returns the first bit of the first mark in p that begins at the bit from or
// after it. Marks in the last seven bytes may not be seen.
func (t *markTable) find(p []byte, from int) (bit int, found bool) {
	for i := from / 8; i+7 <= len(p); i++ {
		places := t[3][p[i+4]]
		if places == 0 {
			continue
		}
		places &= t[0][p[i+1]] & t[1][p[i+2]] & t[2][p[i+3]] & t[4][p[i+5]]
		if places == 0 {
			continue
		}
		whole := bitBuffer{data: p[i : i+7]}
		for shift := range 8 {
			if places>>shift&0x101 == 0 || 8*i+shift < from {
				continue
			}
			if v := whole.uint(shift, bzip2MarkBits); v == bzip2BlockMark || v == bzip2FinalMark {
				return 8*i + shift, true
			}
		}
	}
	return 0, false
}
