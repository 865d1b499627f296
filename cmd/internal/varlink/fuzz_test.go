package varlink

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"
)

// FuzzFrame feeds a stream in pieces of any size and compares the cutting with
// that of bytes.Split.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("{}\x00"), uint8(1))
	f.Add([]byte(`{"method":"a.b.C","parameters":{"x":"\u0000"}}`+"\x00{\x00"), uint8(3))
	f.Add(append(bytes.Repeat([]byte("["), 200), 0), uint8(255))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		rest := stream
		framer := newFramer(func(p, _ []byte) (int, int, int, error) {
			n := copy(p, rest[:min(len(rest), int(piece)+1)])
			rest = rest[n:]
			return n, 0, 0, nil
		}, true)
		defer framer.close()
		var got [][]byte
		var err error
		for {
			var m message
			if m, err = framer.next(); err != nil {
				break
			}
			got = append(got, m.data)
			if r, err := parseRequest(m.data); err == nil && (r.method == "" || !json.Valid(r.parameters)) {
				t.Errorf("accepted %q as %+v", m.data, r)
			}
			if r, err := parseReply(m.data); err == nil && !json.Valid(r.Parameters) {
				t.Errorf("accepted %q as %+v", m.data, r)
			}
		}
		want := bytes.Split(stream, []byte{0})
		tail := want[len(want)-1]
		if !slices.EqualFunc(got, want[:len(want)-1], bytes.Equal) {
			t.Errorf("cut %q into %q", stream, got)
		}
		if end := errors.Is(err, io.EOF); end != (len(tail) == 0) {
			t.Errorf("%q ends with %v", stream, err)
		}
	})
}

// FuzzCheck compares any text with a description: whatever passes must be what
// the JSON decoder takes as well.
func FuzzCheck(f *testing.F) {
	in, err := ParseInterface(`interface a.b
type E (x, y)
type S (a: int, next: ?S)
method M(i: int, f: ?float, e: ?E, s: ?S, l: ?[]string, m: ?[string][]int, o: ?object) -> ()`)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"i":1,"f":1e3,"e":"x","s":{"a":-1,"next":{"a":1}},"l":["a"],"m":{"k":[1]},"o":{"z":[]}}`))
	f.Add([]byte(`{"i":1,"s":{"a":1,"next":{}}}`))
	f.Add([]byte(`{"i":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) || checkText(text) != nil || in.check(in.methods["M"].in, text, nil, false) != nil {
			return
		}
		var v struct {
			I json.Number
			F float64
			E string
			S map[string]any
			L []string
			M map[string][]json.Number
			O map[string]any
		}
		var outside *json.UnmarshalTypeError
		if err := json.Unmarshal(text, &v); err != nil && (!errors.As(err, &outside) || outside.Value[:6] != "number") {
			t.Errorf("%s passed, but %v", text, err)
		}
	})
}

func FuzzParseInterface(f *testing.F) {
	f.Add(serviceDescription)
	f.Add(controlDescription)
	f.Add("interface a.b\ntype T (a: [](b: ?[string](x, y)))\nmethod M(t: T) -> ()\nerror E()")
	f.Add("interface a.b type T (a: ?")
	f.Fuzz(func(_ *testing.T, text string) {
		in, err := ParseInterface(text)
		if err != nil {
			return
		}
		for _, name := range in.Methods {
			// Any type must be usable, however it refers to others.
			_ = in.check(in.methods[name].in, json.RawMessage(`{"t":{"a":[{"b":{"c":"x"}}]}}`), nil, true)
		}
	})
}
