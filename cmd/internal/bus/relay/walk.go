package relay

import (
	"encoding/binary"
	"strings"
)

// walker goes through marshalled values, see the D-Bus specification.
type walker struct {
	order  binary.ByteOrder
	data   []byte
	pos    int
	named  map[uint32]bool // indices of descriptors
	listed bool            // there is a list or a dictionary of descriptors
}

const maxDepth = 64

// all walks through the values of a signature.
func (w *walker) all(signature string) (err error) {
	for signature != "" && err == nil {
		signature, err = w.value(signature, 0)
	}
	return err
}

// sizes of the types that have one.
var sizes = map[byte]int{'y': 1, 'n': 2, 'q': 2, 'b': 4, 'i': 4, 'u': 4, 'h': 4, 'x': 8, 't': 8, 'd': 8}

var closing = map[byte]byte{'(': ')', '{': '}'}

// alignment is that of the first type of a signature.
func alignment(signature string) int {
	switch c := signature[0]; c {
	case '(', '{':
		return 8
	case 'a', 's', 'o':
		return 4
	default:
		return max(1, sizes[c]) // 1: signatures and variants
	}
}

// value walks through the value of the first type and returns the rest of the
// signature.
func (w *walker) value(signature string, depth int) (rest string, err error) {
	if signature == "" || depth > maxDepth {
		return "", errMalformed
	}
	first, rest := signature[0], signature[1:]
	w.pos = align(w.pos, alignment(signature))
	switch first {
	case 's', 'o':
		n, err := w.number()
		if err != nil {
			return "", err
		}
		return rest, w.skip(int(n) + 1)
	case 'g':
		_, err := w.signature()
		return rest, err
	case 'v':
		inner, err := w.signature()
		if err != nil {
			return "", err
		}
		if after, err := w.value(inner, depth+1); err != nil || after != "" {
			return "", errMalformed
		}
		return rest, nil
	case 'a':
		return w.array(rest, depth)
	case '(', '{':
		return w.members(rest, closing[first], depth)
	case 'h':
		n, err := w.number()
		if w.named != nil {
			w.named[n] = true
		}
		return rest, err
	}
	if sizes[first] == 0 {
		return "", errMalformed
	}
	return rest, w.skip(sizes[first])
}

// members walks through what is between brackets.
func (w *walker) members(signature string, closing byte, depth int) (rest string, err error) {
	for signature != "" && signature[0] != closing {
		if signature, err = w.value(signature, depth+1); err != nil {
			return "", err
		}
	}
	if signature == "" {
		return "", errMalformed
	}
	return signature[1:], nil
}

func (w *walker) array(element string, depth int) (rest string, err error) {
	n, err := w.number()
	if err != nil {
		return "", err
	}
	length := complete(element)
	if length == 0 {
		return "", errMalformed
	}
	element, rest = element[:length], element[length:]
	w.pos = align(w.pos, alignment(element))
	end := w.pos + int(n)
	if int(n) > len(w.data) || end > len(w.data) {
		return "", errMalformed
	}
	if element == "h" || element[0] == '{' && strings.ContainsRune(element, 'h') {
		w.listed = true
	}
	for w.pos < end {
		begin := w.pos
		if after, err := w.value(element, depth+1); err != nil || after != "" || w.pos == begin {
			return "", errMalformed
		}
	}
	if w.pos != end {
		return "", errMalformed
	}
	return rest, nil
}

// complete is the length of the first complete type of a signature, 0 if there
// is none.
func complete(signature string) int {
	open := 0
	for i := range len(signature) {
		switch signature[i] {
		case 'a':
			continue
		case '(', '{':
			open++
		case ')', '}':
			open--
		}
		if open <= 0 {
			return i + 1
		}
	}
	return 0
}

func (w *walker) skip(n int) error {
	if n < 0 || n > len(w.data)-w.pos {
		return errMalformed
	}
	w.pos += n
	return nil
}

func (w *walker) number() (uint32, error) {
	begin := w.pos
	if begin > len(w.data) {
		return 0, errMalformed
	}
	if err := w.skip(4); err != nil {
		return 0, err
	}
	return w.order.Uint32(w.data[begin:]), nil
}

// signature reads a signature, which has a length of one byte.
func (w *walker) signature() (string, error) {
	if w.pos >= len(w.data) {
		return "", errMalformed
	}
	begin := w.pos + 1
	if err := w.skip(int(w.data[w.pos]) + 2); err != nil {
		return "", err
	}
	return string(w.data[begin : w.pos-1]), nil
}
