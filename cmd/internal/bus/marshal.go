package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
)

// Bounds of the protocol (D-Bus specification, "Valid Signatures" and "Marshalling").
const (
	maxDepth     = 64 // of containers, variants included
	maxArray     = 64 << 20
	maxMessage   = 128 << 20
	maxSignature = 255
)

var errDepth = errors.New("value is nested too deeply")

// encoder appends values as the D-Bus specification has them under "Marshalling",
// in little-endian order. Its beginning is aligned to eight bytes. The library has
// an encoder as well, which takes milliseconds and ten allocations a value for the
// list of a thousand machines.
type encoder struct {
	buf []byte
	fds []int // of the descriptors among the values, which stand for themselves by index
}

func (e *encoder) align(n int) {
	for len(e.buf)&(n-1) != 0 {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) uint16(n uint16) { e.buf = binary.LittleEndian.AppendUint16(e.buf, n) }
func (e *encoder) uint32(n uint32) { e.buf = binary.LittleEndian.AppendUint32(e.buf, n) }
func (e *encoder) uint64(n uint64) { e.buf = binary.LittleEndian.AppendUint64(e.buf, n) }

func (e *encoder) double(f float64) { e.uint64(math.Float64bits(f)) }

// string appends a string that is aligned already.
func (e *encoder) string(s string) error {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return fmt.Errorf("%q is no text", s)
	}
	e.uint32(uint32(len(s)))
	e.buf = append(append(e.buf, s...), 0)
	return nil
}

func (e *encoder) path(s string) error {
	if !dbus.ObjectPath(s).IsValid() {
		return fmt.Errorf("%q is no object path", s)
	}
	return e.string(s)
}

func (e *encoder) signature(s string) error {
	if len(s) > maxSignature {
		return fmt.Errorf("signature %q is too long", s)
	}
	e.buf = append(append(append(e.buf, byte(len(s))), s...), 0)
	return nil
}

// descriptor appends the index of a file descriptor that goes with the message.
func (e *encoder) descriptor(fd int) {
	e.uint32(uint32(len(e.fds)))
	e.fds = append(e.fds, fd)
}

// array appends an array whose elements have the given alignment.
func (e *encoder) array(alignment int, elements func() error) error {
	size := len(e.buf)
	e.uint32(0)
	e.align(alignment)
	start := len(e.buf)
	if err := elements(); err != nil {
		return err
	}
	length := len(e.buf) - start
	if length > maxArray {
		return fmt.Errorf("array has %d bytes, %d are allowed", length, maxArray)
	}
	binary.LittleEndian.PutUint32(e.buf[size:], uint32(length))
	return nil
}
