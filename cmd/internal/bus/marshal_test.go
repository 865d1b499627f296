package bus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// ofTheLibrary is a body as the library encodes it.
func ofTheLibrary(body []any) (wire []byte, fds []int, err error) {
	defer func() {
		// It panics of types that it does not know.
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	m := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(body...)),
	}}
	var b bytes.Buffer
	fds, err = m.EncodeToWithFDs(&b, binary.LittleEndian)
	if err != nil {
		return nil, nil, err
	}
	wire = b.Bytes()
	return wire[len(wire)-int(binary.LittleEndian.Uint32(wire[4:])):], fds, nil
}

func ofOurs(body []any) (wire []byte, fds []int, err error) {
	var e encoder
	for _, value := range body {
		if err := e.value(value, 0); err != nil {
			return nil, nil, err
		}
	}
	return e.buf, e.fds, nil
}

type inner struct {
	Small byte
	Large uint64
	Own   string `dbus:"-"`
	own   string
}

type outer struct {
	Flag  bool
	Inner inner
	List  []inner
	Path  dbus.ObjectPath
}

func deep(n int) any {
	var v any = "bottom"
	for range n {
		v = dbus.MakeVariant(v)
	}
	return v
}

// The same bytes as the library's, and an error where that has one.
func TestMarshalLikeTheLibrary(t *testing.T) {
	number := uint16(7)
	var none *uint16
	one := inner{1, math.MaxUint64, "own", "own"}
	for _, body := range [][]any{
		{},
		{"", "text", "ünïcode\U0001F600"},
		{true, false, byte(255), int16(-2), uint16(3), int32(-4), uint32(5), int64(-6), uint64(7), int(-8), uint(9)},
		{byte(1), 1.5, byte(1), math.Inf(-1), math.Copysign(0, -1), math.NaN()},
		{byte(1), int64(1), byte(1), int16(1), byte(1), uint32(1), byte(1), true, byte(1), "a"},
		{dbus.ObjectPath("/"), dbus.ObjectPath("/a/b_2eC"), dbus.ParseSignatureMust("a{sv}(ii)"), dbus.Signature{}},
		{[]string{}, []string{"a", "", "ccc"}, []byte{1, 2, 3}, [3]byte{1, 2, 3}, [2]string{"a", "b"}},
		{byte(1), []byte(nil), byte(1), []uint64{}, byte(1), []uint64{1}, []bool{true, false}, []int16{1, 2}},
		{[][]string{{"a"}, {}, {"b", "c"}}, []dbus.ObjectPath{"/a"}, []dbus.Signature{dbus.ParseSignatureMust("s")}},
		{inner{Small: 1}, byte(1), one, []inner{one, one}, outer{true, one, []inner{one}, "/x"}, [][]inner{{one}}},
		{[]any{"a", uint32(1), []string{"b"}, one}, []dbus.Variant{dbus.MakeVariant(one)}},
		{map[string]string{"k": "v"}, map[byte]uint64{1: 2}, map[float64]string{1.5: "x"}, map[int64]bool{}},
		{byte(1), map[string]dbus.Variant{"k": dbus.MakeVariant(map[string]any{"l": []inner{one}})}},
		{map[dbus.ObjectPath]map[string]map[string]dbus.Variant{"/a": {"b": {"c": dbus.MakeVariant(true)}}}},
		{dbus.MakeVariant("a"), dbus.MakeVariant(byte(1)), dbus.MakeVariant(uint64(1)), dbus.MakeVariant(dbus.MakeVariant(1.5))},
		{&number, &one, []*uint16{&number}},
		{dbus.UnixFD(0), "a", dbus.MakeVariant(dbus.UnixFD(1)), []dbus.UnixFD{2, 0}, dbus.UnixFDIndex(5)},
		{deep(64)},
		{deep(65)},
		{"nul\x00"},
		{"no utf-8\xff"},
		{dbus.ObjectPath("")},
		{dbus.ObjectPath("a")},
		{dbus.ObjectPath("/a/")},
		{dbus.ObjectPath("/a-b")},
		{dbus.ObjectPath("//")},
		{struct{ own string }{}},
		{int8(1)},
		{float32(1)},
		{make(chan int)},
		{map[bool]string{true: ""}},
		{none},
		{nil},
		{[]any{nil}},
	} {
		want, wantFDs, wantErr := ofTheLibrary(body)
		got, fds, err := ofOurs(body)
		if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) || !cmp.Equal(fds, wantFDs, cmpopts.EquateEmpty()) {
			t.Errorf("%#v:\n%x %v %v, want\n%x %v %v", body, got, fds, err, want, wantFDs, wantErr)
		}
	}
}

// A map has no order, so that the library's bytes are not always the same.
func TestMarshalMap(t *testing.T) {
	want := map[string]uint32{}
	for i := range uint32(50) {
		want[strings.Repeat("k", int(i))] = i
	}
	first, _, err := ofOurs([]any{want})
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := ofOurs([]any{want})
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the same map is encoded as %x and as %x, %v", first, again, err)
	}
	wire, _, err := message{kind: dbus.TypeMethodReply, replySerial: 1, body: []any{want}}.encode(1)
	if err != nil {
		t.Fatal(err)
	}
	m, err := dbus.DecodeMessage(bytes.NewReader(wire))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Body[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %v", got)
	}
}

func TestArrayIsTooLong(t *testing.T) {
	if _, _, err := ofOurs([]any{make([]byte, maxArray)}); err != nil {
		t.Error(err)
	}
	if _, _, err := ofOurs([]any{make([]byte, maxArray+1)}); err == nil {
		t.Error("an array above the limit is encoded")
	}
	half := make([]byte, maxArray)
	if _, _, err := (message{kind: dbus.TypeSignal, body: []any{half, half}}).encode(1); err == nil {
		t.Error("a message above the limit is encoded")
	}
}

func TestEncoded(t *testing.T) {
	list := []outer{{Flag: true, Path: "/a"}, {List: []inner{{Large: 1}}, Path: "/b"}}
	encoded, err := Encode(list)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := typeSignature(reflect.TypeOf(encoded)), "a(b(yt)a(yt)o)"; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	for range 2 { // what is appended to one message is not in the next
		want, _, wantErr := ofTheLibrary([]any{list, "more"})
		got, _, err := ofOurs([]any{encoded, "more"})
		if err != nil || wantErr != nil || !bytes.Equal(got, want) {
			t.Errorf("%x %v, want %x %v", got, err, want, wantErr)
		}
	}
	for what, body := range map[string][]any{"second": {"a", encoded}, "never": {Encoded[string]{}}, "inside": {[]Encoded[[]outer]{encoded}}} {
		if _, _, err := ofOurs(body); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := Encode(dbus.UnixFD(0)); err == nil {
		t.Error("a descriptor can be kept")
	}
}

// FuzzMarshal has the library decode any body, and both encode what came of it.
func FuzzMarshal(f *testing.F) {
	for _, body := range [][]any{
		{"text", uint32(1), []string{"a"}},
		{map[string]dbus.Variant{"k": dbus.MakeVariant([]byte{1})}},
		{[]outer{{List: []inner{{}}, Path: "/"}}, true, 1.5},
		{dbus.MakeVariant(dbus.MakeVariant(dbus.ParseSignatureMust("a{sv}")))},
	} {
		wire, _, err := ofTheLibrary(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(dbus.SignatureOf(body...).String(), wire)
	}
	f.Fuzz(func(t *testing.T, signature string, wire []byte) {
		body := decoded(signature, wire)
		if body == nil {
			return
		}
		want, _, wantErr := ofTheLibrary(body)
		got, _, err := ofOurs(body)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%#v: %v, the library's %v", body, err, wantErr)
		}
		if err == nil && len(got) != len(want) {
			t.Fatalf("%#v: %x, want %x", body, got, want)
		}
		if !bytes.Equal(got, want) && !strings.Contains(signature+string(wire), "a{") { // those have no order
			t.Fatalf("%#v: %x, want %x", body, got, want)
		}
	})
}

// decoded is nil for what the library cannot decode, or panics of.
func decoded(signature string, wire []byte) (body []any) {
	defer func() {
		if recover() != nil {
			body = nil
		}
	}()
	sig, err := dbus.ParseSignature(signature)
	// Of structures without members, which the protocol does not know, it decodes
	// arrays without end.
	if err != nil || sig.String() == "" || strings.Contains(signature+string(wire), "()") {
		return nil
	}
	var e encoder
	e.buf = append(e.buf, 'l', byte(dbus.TypeMethodReply), 0, 1)
	e.uint32(uint32(len(wire)))
	e.uint32(1)
	if e.value([]field{
		{byte(dbus.FieldReplySerial), dbus.MakeVariant(uint32(1))},
		{byte(dbus.FieldSignature), dbus.MakeVariant(sig)},
	}, 0) != nil {
		return nil
	}
	e.align(8)
	m, err := dbus.DecodeMessage(bytes.NewReader(append(e.buf, wire...)))
	if err != nil {
		return nil
	}
	return m.Body
}
