package busguard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"
)

// pass gives what the guard says to a message that it read with so many
// descriptors, as a pump asks it.
func pass(whole []byte, fds int) (*message, error) {
	if len(whole) < fixedHeader {
		return nil, io.ErrUnexpectedEOF
	}
	m, err := parseFixed(whole)
	if err != nil {
		return nil, err
	}
	if m.total != len(whole) {
		return nil, io.ErrUnexpectedEOF
	}
	if err := m.parseFields(whole[:m.header]); err != nil {
		return nil, err
	}
	if m.fds != fds {
		return nil, errors.New("descriptors are missing")
	}
	o := Options{Descriptors: true}
	if err := o.judgeSize(m); err != nil {
		return nil, err
	}
	m.body = whole[m.header:]
	return m, o.judge(m)
}

// check holds the one promise: what gets through does not make the library panic,
// does not end the connection, and leads to all of its descriptors.
func check(t *testing.T, whole []byte, fds int) (passed bool) {
	m, err := pass(whole, fds)
	if err != nil {
		return false
	}
	numbers := make([]int, fds)
	for i := range numbers {
		numbers[i] = 1000 + i
	}
	whole[2] &= knownFlags
	msg, err := dbus.DecodeMessageWithFDs(bytes.NewReader(whole), numbers)
	if _, ignored := errors.AsType[dbus.InvalidMessageError](err); ignored {
		return true
	}
	if err != nil {
		t.Fatalf("signature %q got through: %v\n%x", m.signature, err, whole)
	}
	found := map[dbus.UnixFD]bool{}
	collect(msg.Body, found)
	if len(found) != fds {
		t.Fatalf("signature %q got through, of %d descriptors %d are found\n%x", m.signature, fds, len(found), whole)
	}
	return true
}

func collect(v any, found map[dbus.UnixFD]bool) {
	switch v := v.(type) {
	case dbus.UnixFD:
		found[v] = true
	case dbus.Variant:
		collect(v.Value(), found)
	case []any:
		for _, e := range v {
			collect(e, found)
		}
	default:
		r := reflect.ValueOf(v)
		switch r.Kind() {
		case reflect.Slice:
			for i := range r.Len() {
				collect(r.Index(i).Interface(), found)
			}
		case reflect.Map:
			for _, key := range r.MapKeys() {
				// As a handler would look for it.
				if e := r.MapIndex(key); e.IsValid() {
					collect(e.Interface(), found)
				}
			}
		}
	}
}

// compose makes a call around a body.
func compose(order binary.AppendByteOrder, signature string, body []byte, fds int) []byte {
	fields := func(b []byte, code, t byte, value string) []byte {
		b = order.AppendUint32(append(pad(b), code, 1, t, 0), uint32(len(value)))
		return append(append(b, value...), 0)
	}
	b := fields(nil, 1, 'o', "/o")
	b = fields(b, fieldMember, 's', "M")
	b = fields(b, fieldSender, 's', ":1.2")
	b = append(append(append(pad(b), fieldSignature, 1, 'g', 0, byte(len(signature))), signature...), 0)
	if fds > 0 {
		b = order.AppendUint32(append(pad(b), fieldFDs, 1, 'u', 0), uint32(fds))
	}
	first := byte('l')
	if order.String() == binary.BigEndian.String() {
		first = 'B'
	}
	head := order.AppendUint32([]byte{first, typeCall, 0, 1}, uint32(len(body)))
	head = order.AppendUint32(order.AppendUint32(head, 1), uint32(len(b)))
	return append(pad(append(head, b...)), body...)
}

func FuzzMessage(f *testing.F) {
	for _, s := range seeds {
		f.Add(compose(binary.LittleEndian, s.signature, s.body, s.fds), byte(s.fds))
		f.Add(errorMessage("a.B", "text", 1, fieldDestination, ":1.2"), byte(0))
	}
	f.Fuzz(func(t *testing.T, whole []byte, fds byte) { check(t, whole, int(fds)) })
}

func FuzzBody(f *testing.F) {
	for _, s := range seeds {
		f.Add(s.signature, s.body, false, byte(s.fds))
	}
	f.Fuzz(func(t *testing.T, signature string, body []byte, big bool, fds byte) {
		if len(signature) > maxSignature {
			return
		}
		check(t, compose(orderOf(big), signature, body, int(fds)%4), int(fds)%4)
	})
}

// FuzzGenerated makes bodies that the bus would let pass, and some with one byte
// changed.
func FuzzGenerated(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { generateAndCheck(t, seed) })
}

func TestGenerated(t *testing.T) {
	passed := 0
	const tries = 20000
	for seed := range uint64(tries) {
		if generateAndCheck(t, seed) {
			passed++
		}
	}
	if passed < tries/4 || passed > tries*9/10 {
		t.Errorf("%d of %d messages got through: the other ones, or these, are hardly tested", passed, tries)
	}
}

func generateAndCheck(t *testing.T, seed uint64) bool {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 1)), order: orderOf(seed%2 == 0)}
	g.fds = g.IntN(3)
	var signature string
	for range 1 + g.IntN(3) {
		s := g.complete(0)
		if len(signature)+len(s) > maxSignature {
			break
		}
		signature += s
		g.value(s, 0)
	}
	if g.IntN(3) == 0 && len(g.body) > 0 {
		g.body[g.IntN(len(g.body))] ^= 1 << g.IntN(8)
	}
	return check(t, compose(g.order, signature, g.body, g.fds), g.fds)
}

func orderOf(big bool) binary.AppendByteOrder {
	if big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

type generator struct {
	*rand.Rand
	order binary.AppendByteOrder
	fds   int
	body  []byte
}

func (g *generator) letter(of string) string { i := g.IntN(len(of)); return of[i : i+1] }

func (g *generator) complete(depth int) string {
	if depth > 6 {
		return g.letter(basicTypes)
	}
	switch g.IntN(9) {
	case 0:
		return "a" + g.complete(depth+1)
	case 1:
		s := g.complete(depth + 1)
		if g.IntN(2) == 0 {
			s += g.complete(depth + 1)
		}
		return "(" + s + ")"
	case 2:
		return "a{" + g.letter(basicTypes) + g.complete(depth+1) + "}"
	case 3, 4:
		return "v"
	case 5:
		return "h"
	}
	return g.letter(basicTypes)
}

func (g *generator) align(n int) {
	for len(g.body)%n != 0 {
		g.body = append(g.body, 0)
	}
}

func (g *generator) value(t string, depth int) {
	g.align(alignment([]byte(t)))
	switch t[0] {
	case 'y', 'n', 'q', 'i', 'u', 'x', 't', 'd':
		for range fixedSize([]byte(t)) {
			g.body = append(g.body, byte(g.IntN(256)))
		}
	case 'b':
		g.body = g.order.AppendUint32(g.body, uint32(g.IntN(2)))
	case 'h':
		g.body = g.order.AppendUint32(g.body, uint32(g.IntN(max(g.fds, 1))))
	case 's', 'o':
		g.body = append(g.order.AppendUint32(g.body, 2), '/', "abcd"[g.IntN(4)], 0)
	case 'g':
		g.signature(g.letter(basicTypes))
	case 'v':
		s := g.letter(basicTypes)
		if depth < 8 {
			s = g.complete(depth)
		}
		if len(s) > maxSignature {
			s = "s"
		}
		g.signature(s)
		g.value(s, depth+1)
	case '(':
		g.members(t[1:len(t)-1], depth)
	case 'a':
		g.body = append(g.body, 0, 0, 0, 0)
		length := len(g.body) - 4
		g.align(alignment([]byte(t[1:])))
		start := len(g.body)
		for range g.IntN(3) {
			if t[1] == '{' {
				g.align(8)
				g.members(t[2:len(t)-1], depth)
			} else {
				g.value(t[1:], depth+1)
			}
		}
		g.order.(binary.ByteOrder).PutUint32(g.body[length:], uint32(len(g.body)-start))
	}
}

func (g *generator) members(s string, depth int) {
	for s != "" {
		n := typeLen([]byte(s))
		g.value(s[:n], depth+1)
		s = s[n:]
	}
}

func (g *generator) signature(s string) {
	g.body = append(append(append(g.body, byte(len(s))), s...), 0)
}

// seed is a body in little endian.
type seed struct {
	signature string
	body      []byte
	fds       int
	passes    bool
}

var seeds = []seed{
	{"", nil, 0, true},
	{"s", []byte("\x01\x00\x00\x00a\x00"), 0, true},
	{"h", []byte{0, 0, 0, 0}, 1, true},
	{"h", []byte{0, 0, 0, 0}, 2, false}, // nobody would close the other
	{"h", []byte{1, 0, 0, 0}, 1, false},
	{"h", []byte{9, 0, 0, 0}, 0, true}, // a number for the library
	{"hh", []byte{0, 0, 0, 0, 0, 0, 0, 0}, 1, true},
	{"v", []byte{1, 'h', 0, 0, 0, 0, 0, 0}, 1, true},
	{"ah", []byte{4, 0, 0, 0, 0, 0, 0, 0}, 1, false},
	{"ah", []byte{4, 0, 0, 0, 0, 0, 0, 0}, 0, true},
	{"hah", []byte{0, 0, 0, 0, 0, 0, 0, 0}, 1, true}, // there is none in it
	{"v", []byte{2, 'a', 'h', 0, 4, 0, 0, 0, 0, 0, 0, 0}, 1, false},
	{"a(h)", []byte{4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1, true},
	{"a{yh}", []byte{8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 1, false},
	{"a{hy}", []byte{5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 1, false},
	{"a{y(h)}", []byte{12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1, true},
	{"a{by}", []byte{5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 0, false},
	{"a{by}", []byte{0, 0, 0, 0, 0, 0, 0, 0}, 0, true},
	{"a{gy}", []byte{4, 0, 0, 0, 0, 0, 0, 0, 1, 'y', 0, 1}, 0, false},
	{"a{vy}", []byte{0, 0, 0, 0, 0, 0, 0, 0}, 0, false},
	{"a()", []byte{8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, false},
	{"v", []byte{3, 'a', '(', ')', 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, false},
	{"b", []byte{2, 0, 0, 0}, 0, false},
	{"v", []byte{2, 'y', 'y', 0, 0, 0}, 0, false},
	{"v", []byte{0, 0}, 0, false},
	{"y", []byte{1, 2}, 0, false},
	{"ay", []byte{255, 255, 255, 255}, 0, false},
	{"s", []byte{255, 255, 255, 255}, 0, false},
	{"u", []byte{1, 0}, 0, false},
	{"v", nested(62), 0, true},
	{"v", nested(80), 0, false},
}

// nested is a byte in so many variants in a variant.
func nested(n int) []byte { return append(bytes.Repeat([]byte{1, 'v', 0}, n), 1, 'y', 0, 7) }

func TestSeeds(t *testing.T) {
	for _, s := range seeds {
		t.Run(fmt.Sprintf("%s %x", s.signature, s.body[:min(len(s.body), 12)]), func(t *testing.T) {
			whole := compose(binary.LittleEndian, s.signature, slices.Clone(s.body), s.fds)
			if passed := check(t, whole, s.fds); passed != s.passes {
				_, err := pass(whole, s.fds)
				t.Errorf("passed: %v, want %v: %v", passed, s.passes, err)
			}
		})
	}
}

func TestValidSignature(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "y": true, "a{sv}": true, "a(sa{sv})vh": true, "aay": true,
		"a": false, "()": false, "(": false, ")": false, "{sv}": false, "a{s}": false, "a{svv}": false, "a{vs}": false,
		"a{(s)s}": false, "a{s": false, "(s": false, "z": false, "r": false, "a{}": false, "(a)": false,
	} {
		if got := validSignature([]byte(s)); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
	for _, n := range []int{32, 33} {
		for _, s := range [][]byte{
			append(bytes.Repeat([]byte("a"), n), 'y'),
			slices.Concat(bytes.Repeat([]byte("("), n), []byte("y"), bytes.Repeat([]byte(")"), n)),
		} {
			if got := validSignature(s); got != (n == 32) {
				t.Errorf("%s: %v", s, got)
			}
		}
	}
}
