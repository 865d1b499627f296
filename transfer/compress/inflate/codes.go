package inflate

import (
	"encoding/binary"
	"fmt"
	"io"
)

// fixed begins a block with the codes of section 3.2.6.
func (r *Reader) fixed() error {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	var distances [32]uint8
	for i := range distances {
		distances[i] = 5
	}
	r.literals.build(lengths[:], literalSymbols[:], literalBits)
	r.distances.build(distances[:], distanceSymbols[:], distanceBits)
	r.state = inCodes
	return nil
}

// lengthOrder is the order of code lengths in section 3.2.7.
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic begins a block that brings its codes, section 3.2.7.
func (r *Reader) dynamic() error {
	counts, err := r.take(14)
	if err != nil {
		return err
	}
	literals, distances := int(counts&31)+257, int(counts>>5&31)+1
	if literals > maxLiterals || distances > maxDistances {
		return fmt.Errorf("%w: too many codes", ErrCorrupt)
	}
	var short [19]uint8
	for i := range counts>>10 + 4 {
		l, err := r.take(3)
		if err != nil {
			return err
		}
		short[lengthOrder[i]] = uint8(l)
	}
	var code table
	if !code.build(short[:], lengthSymbols[:], lengthBits) {
		return fmt.Errorf("%w: code of code lengths", ErrCorrupt)
	}
	var lengths [maxLiterals + maxDistances]uint8
	if err := r.lengths(&code, lengths[:literals+distances]); err != nil {
		return err
	}
	if !r.literals.build(lengths[:literals], literalSymbols[:], literalBits) ||
		!r.distances.build(lengths[literals:literals+distances], distanceSymbols[:], distanceBits) {
		return fmt.Errorf("%w: no such code", ErrCorrupt)
	}
	r.state = inCodes
	return nil
}

// lengths reads code lengths, some of which are told by how often they repeat.
func (r *Reader) lengths(code *table, lengths []uint8) error {
	for i := 0; i < len(lengths); {
		e, err := r.symbol(code)
		if err != nil {
			return err
		}
		var repeats, bits uint
		var l uint8
		switch s := e.value(); {
		case s < 16:
			lengths[i] = uint8(s)
			i++
			continue
		case s == 16 && i == 0:
			return fmt.Errorf("%w: nothing to repeat", ErrCorrupt)
		case s == 16:
			repeats, bits, l = 3, 2, lengths[i-1]
		case s == 17:
			repeats, bits = 3, 3
		default:
			repeats, bits = 11, 7
		}
		more, err := r.take(bits)
		if err != nil {
			return err
		}
		repeats += more
		if int(repeats) > len(lengths)-i {
			return fmt.Errorf("%w: more code lengths than codes", ErrCorrupt)
		}
		for range repeats {
			lengths[i] = l
			i++
		}
	}
	return nil
}

// symbol reads a code, but not the bits that follow it.
func (r *Reader) symbol(t *table) (entry, error) {
	if err := r.need(maxCodeBits); err != nil {
		return 0, err
	}
	e := t.entries[r.bits&(1<<t.bits-1)]
	before := uint(0)
	if e&subtable != 0 {
		before = t.bits
		e = t.entries[uint64(e.value())+r.bits>>t.bits&(1<<e.codeBits()-1)]
	}
	switch {
	case r.n < before+e.codeBits(), e == 0 && r.n < maxCodeBits:
		return 0, io.ErrUnexpectedEOF
	case e == 0:
		return 0, fmt.Errorf("%w: no such code", ErrCorrupt)
	}
	r.drop(before + e.codeBits())
	return e, nil
}

// number reads the bits that follow a code, which say how much is to be added.
func (r *Reader) number(e entry) (int, error) {
	more, err := r.take(e.size() - e.codeBits())
	return e.value() + int(more), err
}

// codes decodes until the block ends, or out is full. Where there is little input
// left it goes by single symbols.
func (r *Reader) codes() error {
	if ended, err := r.quick(); ended || err != nil {
		if err != nil {
			return err
		}
		return r.endBlock()
	}
	if r.end >= window+chunk {
		return nil
	}
	e, err := r.symbol(&r.literals)
	switch {
	case err != nil:
		return err
	case e&literal != 0:
		r.out[r.end] = byte(e.value())
		r.end++
		return nil
	case e&endBlock != 0:
		return r.endBlock()
	}
	length, err := r.number(e)
	if err != nil {
		return err
	}
	if e, err = r.symbol(&r.distances); err != nil {
		return err
	}
	distance, err := r.number(e)
	if err != nil {
		return err
	}
	if distance > r.end {
		return errTooFar
	}
	r.end = repeat(&r.out, r.end, length, distance)
	return nil
}

var errTooFar = fmt.Errorf("%w: a match before the beginning", ErrCorrupt)

// repeat puts length bytes from distance before the end behind it and returns the
// new end.
func repeat(out *[window + chunk + slack]byte, end, length, distance int) int {
	from, to := end-distance, end+length
	if distance == 1 {
		fill := out[end:to]
		b := out[from]
		for i := range fill {
			fill[i] = b
		}
		return to
	}
	for ; end < to; end, from = end+1, from+1 {
		out[end] = out[from]
	}
	return to
}

// quick decodes as long as eight bytes of input are at hand and out has room. It
// reports whether the block has ended.
func (r *Reader) quick() (ended bool, err error) {
	src, pos, bits, n := r.src, r.pos, r.bits, r.n
	out, end := &r.out, r.end
	literals := (*[1 << literalBits]entry)(r.literals.entries)
	distances := (*[1 << distanceBits]entry)(r.distances.entries)
	for end < window+chunk && pos+16 <= len(src) {
		bits |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		// Three literals take no more than 33 bits.
		e := literals[bits&(1<<literalBits-1)]
		if e&literal != 0 {
			bits, n = bits>>(e&63), n-uint(e&63)
			out[end] = byte(e >> 16)
			end++
			e = literals[bits&(1<<literalBits-1)]
			if e&literal != 0 {
				bits, n = bits>>(e&63), n-uint(e&63)
				out[end] = byte(e >> 16)
				end++
				e = literals[bits&(1<<literalBits-1)]
				if e&literal != 0 {
					bits, n = bits>>(e&63), n-uint(e&63)
					out[end] = byte(e >> 16)
					end++
					continue
				}
			}
			// A length and a distance take up to 48 bits.
			bits |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
			pos += int(63-n) >> 3
			n |= 56
		}
		if e&special != 0 {
			if e&endBlock != 0 {
				bits, n, ended = bits>>(e&63), n-uint(e&63), true
				break
			}
			bits, n = bits>>literalBits, n-literalBits
			e = r.literals.entries[uint64(e>>16)+bits&(1<<(e>>8&15)-1)]
			if e&literal != 0 {
				bits, n = bits>>(e&63), n-uint(e&63)
				out[end] = byte(e >> 16)
				end++
				continue
			}
			if e&endBlock != 0 {
				bits, n, ended = bits>>(e&63), n-uint(e&63), true
				break
			}
		}
		if e == 0 {
			err = errNoCode
			break
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits, n = bits>>(e&63), n-uint(e&63)

		e = distances[bits&(1<<distanceBits-1)]
		if e&subtable != 0 {
			bits, n = bits>>distanceBits, n-distanceBits
			e = r.distances.entries[uint64(e>>16)+bits&(1<<(e>>8&15)-1)]
		}
		if e == 0 {
			err = errNoCode
			break
		}
		distance := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits, n = bits>>(e&63), n-uint(e&63)
		if distance > end {
			err = errTooFar
			break
		}
		if distance < 8 {
			end = repeat(out, end, length, distance)
			continue
		}
		// Most are such, and a call for each costs a twelfth of all.
		from, to := end-distance, end+length
		for ; end < to; end, from = end+8, from+8 {
			binary.LittleEndian.PutUint64(out[end:], binary.LittleEndian.Uint64(out[from:]))
		}
		end = to
	}
	r.pos, r.bits, r.n, r.end = pos, bits, n, end
	return ended, err
}

var errNoCode = fmt.Errorf("%w: no such code", ErrCorrupt)
