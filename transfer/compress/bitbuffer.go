package compress

import "slices"

// bitBuffer is a string of bits, of which the first is the highest of data[0].
// The bits of the last byte that are not used are zero.
type bitBuffer struct {
	data []byte
	bits int
}

// add appends count bits of src, from the bit with the number first on.
func (b *bitBuffer) add(src []byte, first, count int) {
	b.data = slices.Grow(b.data, count/8+2)
	for ; count > 0; first, count = first+8, count-8 {
		b.push(eightBits(src, first), min(count, 8))
	}
}

// addUint appends the n lowest bits of v, at most 64.
func (b *bitBuffer) addUint(v uint64, n int) {
	v <<= 64 - n
	for ; n > 0; n, v = n-8, v<<8 {
		b.push(byte(v>>56), min(n, 8))
	}
}

// push appends the n highest bits of v, at most 8.
func (b *bitBuffer) push(v byte, n int) {
	v = v >> (8 - n) << (8 - n)
	used := b.bits % 8
	if used == 0 {
		b.data = append(b.data, v)
	} else {
		b.data[len(b.data)-1] |= v >> used
		if used+n > 8 {
			b.data = append(b.data, v<<(8-used))
		}
	}
	b.bits += n
}

// uint returns n bits, at most 64, from the bit with the number first on. Beyond
// the end there are zeros.
func (b *bitBuffer) uint(first, n int) (v uint64) {
	for i := 0; i < n; i += 8 {
		v |= uint64(eightBits(b.data, first+i)) << (56 - i)
	}
	return v >> (64 - n)
}

// eightBits are the bits of p from the bit with the number first on, and zeros
// beyond its end.
func eightBits(p []byte, first int) (v byte) {
	at, shift := first/8, first%8
	if at < len(p) {
		v = p[at] << shift
	}
	if shift > 0 && at+1 < len(p) {
		v |= p[at+1] >> (8 - shift)
	}
	return v
}
