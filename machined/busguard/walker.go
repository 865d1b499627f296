package busguard

import (
	"encoding/binary"
	"slices"
)

// maxDepth is how deep containers may be nested, variants included. The library
// counts like this, an entry of a dictionary for one more.
const maxDepth = 64

// walker goes through marshalled values. It checks all that moves the position,
// and what the library stumbles upon; it does not look into strings.
type walker struct {
	data  []byte
	order binary.ByteOrder
	pos   int
	fds   int          // descriptors that come with the message
	named [maxFDs]bool // a value refers to the descriptor
}

var errShort = malformed("it ends too early")

func (w *walker) align(n int) error { return w.skip((n - w.pos%n) % n) }

func (w *walker) skip(n int) error {
	if n > len(w.data)-w.pos {
		return errShort
	}
	w.pos += n
	return nil
}

func (w *walker) byte() (byte, error) {
	if w.pos >= len(w.data) {
		return 0, errShort
	}
	w.pos++
	return w.data[w.pos-1], nil
}

func (w *walker) uint32() (uint32, error) {
	if err := w.align(4); err != nil {
		return 0, err
	}
	if err := w.skip(4); err != nil {
		return 0, err
	}
	return w.order.Uint32(w.data[w.pos-4:]), nil
}

// fieldCode begins a header field.
func (w *walker) fieldCode() (byte, error) {
	if err := w.align(8); err != nil {
		return 0, err
	}
	return w.byte()
}

// values walks values of the types of a valid signature.
func (w *walker) values(signature []byte, depth int) error {
	for len(signature) > 0 {
		n := typeLen(signature)
		if err := w.value(signature[:n], depth); err != nil {
			return err
		}
		signature = signature[n:]
	}
	return nil
}

// value walks a value of one complete type.
func (w *walker) value(t []byte, depth int) error {
	if size := fixedSize(t); size > 0 {
		if err := w.align(size); err != nil {
			return err
		}
		return w.skip(size)
	}
	switch t[0] {
	case 'b':
		return w.bool()
	case 'h':
		return w.descriptor()
	case 's', 'o':
		n, err := w.uint32()
		if err != nil {
			return err
		}
		return w.text(int64(n))
	case 'g':
		_, err := w.signature()
		return err
	}
	if depth >= maxDepth {
		return malformed("it is nested too deeply")
	}
	switch t[0] {
	case 'v':
		_, _, err := w.variant(depth)
		return err
	case 'a':
		return w.array(t[1:], depth)
	}
	if err := w.align(8); err != nil {
		return err
	}
	return w.values(t[1:len(t)-1], depth+1)
}

// fixedSize is that of types whose values are all valid, else 0.
func fixedSize(t []byte) int {
	switch t[0] {
	case 'y':
		return 1
	case 'n', 'q':
		return 2
	case 'i', 'u':
		return 4
	case 'x', 't', 'd':
		return 8
	}
	return 0
}

// alignment is that of a type, for which its first letter is enough.
func alignment(t []byte) int {
	switch t[0] {
	case 'y', 'g', 'v':
		return 1
	case 'n', 'q':
		return 2
	case 'x', 't', 'd', '(', '{':
		return 8
	}
	return 4
}

func (w *walker) bool() error {
	n, err := w.uint32()
	if err == nil && n > 1 {
		return malformed("a boolean is neither true nor false")
	}
	return err
}

func (w *walker) descriptor() error {
	n, err := w.uint32()
	if err != nil || w.fds == 0 {
		// Without descriptors the number stays one.
		return err
	}
	if int64(n) >= int64(w.fds) {
		return malformed("a value refers to a descriptor that is not there")
	}
	w.named[n] = true
	return nil
}

// text walks n bytes and their end.
func (w *walker) text(n int64) error {
	if n >= int64(len(w.data)-w.pos) {
		return errShort
	}
	w.pos += int(n) + 1
	if w.data[w.pos-1] != 0 {
		return malformed("a string has no end")
	}
	return nil
}

func (w *walker) signature() ([]byte, error) {
	n, err := w.byte()
	if err != nil {
		return nil, err
	}
	if err := w.text(int64(n)); err != nil {
		return nil, err
	}
	s := w.data[w.pos-1-int(n) : w.pos-1]
	if !validSignature(s) {
		return nil, malformed("a signature is invalid")
	}
	return s, nil
}

// variant tells the type and where the value begins.
func (w *walker) variant(depth int) (signature []byte, at int, err error) {
	if signature, err = w.signature(); err != nil {
		return nil, 0, err
	}
	if !single(signature) {
		return nil, 0, malformed("a variant is not of one type")
	}
	if err := w.align(alignment(signature)); err != nil {
		return nil, 0, err
	}
	at = w.pos
	return signature, at, w.value(signature, depth+1)
}

// array walks an array or a dictionary of elements of type t.
func (w *walker) array(t []byte, depth int) error {
	n, err := w.uint32()
	if err != nil {
		return err
	}
	if n > maxArray {
		return malformed("an array is too long")
	}
	if err := w.align(alignment(t)); err != nil {
		return err
	}
	end := w.pos + int(n)
	if end > len(w.data) {
		return errShort
	}
	if size := fixedSize(t); size > 0 && int(n)%size == 0 {
		return w.skip(int(n))
	}
	if n > 0 && t[0] == 'h' && w.fds > 0 {
		return unreadable("it has an array of descriptors")
	}
	if t[0] == '{' {
		err = w.entries(t[1:2], t[2:len(t)-1], end, depth)
	} else {
		for w.pos < end && err == nil {
			err = w.value(t, depth+1)
		}
	}
	if err == nil && w.pos != end {
		return malformed("an array is longer than it says")
	}
	return err
}

// entries walks those of a dictionary.
func (w *walker) entries(key, value []byte, end, depth int) error {
	if depth >= maxDepth-1 {
		return malformed("it is nested too deeply")
	}
	if w.pos < end {
		if err := w.readable(key, value); err != nil {
			return err
		}
	}
	var seen map[string]bool
	if w.fds > 0 {
		seen = make(map[string]bool)
	}
	for w.pos < end {
		if err := w.align(8); err != nil {
			return err
		}
		at := w.pos
		if err := w.value(key, depth+2); err != nil {
			return err
		}
		if seen != nil {
			if name := string(w.data[at:w.pos]); seen[name] {
				return unreadable("a dictionary has an entry twice")
			} else {
				seen[name] = true
			}
		}
		if err := w.value(value, depth+2); err != nil {
			return err
		}
	}
	return nil
}

// readable refuses dictionaries that the library cannot make a map of, or only one
// that does not lead to all descriptors: equal numbers may have different bytes,
// and there is one that is not equal to itself.
func (w *walker) readable(key, value []byte) error {
	unable := "bg"
	if w.fds > 0 {
		unable = "bgdh"
		if value[0] == 'h' {
			return unreadable("it has a dictionary of descriptors")
		}
	}
	if slices.Contains([]byte(unable), key[0]) {
		return unreadable("it has a dictionary with keys of type " + string(key))
	}
	return nil
}

// unnamed reports whether no value refers to one of the descriptors.
func (w *walker) unnamed() bool { return slices.Contains(w.named[:w.fds], false) }
