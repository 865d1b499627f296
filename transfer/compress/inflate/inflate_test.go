package inflate_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"berth/transfer/compress/inflate"
)

// readAll decodes one stream and returns what follows it.
func readAll(in io.Reader) (out, rest []byte, err error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	r := inflate.NewReader(buffered)
	for err == nil {
		var some []byte
		some, err = r.Next()
		out = append(out, some...)
	}
	if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return out, nil, err
	}
	rest, err = io.ReadAll(buffered)
	return out, rest, err
}

// contents are what streams are made of: what repeats from near and far, what does
// not, and what has codes of all lengths.
func contents() map[string][]byte {
	random := rand.NewChaCha8([32]byte{3})
	noise := make([]byte, 70_000)
	_, _ = random.Read(noise)
	var text, skewed bytes.Buffer
	for n := 0; text.Len() < 900_000; n++ {
		fmt.Fprintf(&text, "%d, and %x\n", n, n*n)
	}
	numbers := rand.New(random)
	for skewed.Len() < 400_000 {
		b := 0
		for numbers.IntN(2) == 0 && b < 255 {
			b++
		}
		skewed.WriteByte(byte(b))
	}
	var periods []byte
	for p := 1; p < 20; p++ {
		periods = append(periods, bytes.Repeat(noise[:p], 3000/p)...)
	}
	far := slicesOf(noise[:32<<10], noise[:32<<10], noise[1:20<<10], noise[:32<<10])
	return map[string][]byte{
		"nothing": nil, "a byte": {7}, "zeros": make([]byte, 700_000), "noise": noise,
		"text": text.Bytes(), "skewed": skewed.Bytes(), "periods": periods, "far": far,
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func deflated(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReaderDecodes(t *testing.T) {
	for name, data := range contents() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			stream := append(deflated(t, data, level), "what follows"...)
			for how, in := range map[string]io.Reader{
				"whole": bytes.NewReader(stream), "halves": iotest.HalfReader(bytes.NewReader(stream)),
				"bytes": iotest.OneByteReader(bytes.NewReader(stream)),
			} {
				got, rest, err := readAll(in)
				if err != nil || !bytes.Equal(got, data) || string(rest) != "what follows" {
					t.Errorf("%s, level %d, by %s: %d of %d bytes, %d after them, %v", name, level, how, len(got), len(data), len(rest), err)
				}
			}
		}
	}
}

// Streams follow each other in one Reader, whose history is not that of the first.
func TestReset(t *testing.T) {
	first, second := deflated(t, bytes.Repeat([]byte("ab"), 50_000), 9), deflated(t, []byte("second"), 9)
	in := bufio.NewReader(bytes.NewReader(append(first, second...)))
	r := inflate.NewReader(in)
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	r.Reset()
	if got, err := r.Next(); err != nil || string(got) != "second" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	// A match of three bytes from distance one, at the very beginning.
	r = inflate.NewReader(bufio.NewReader(bytes.NewReader(append(first, 0x03, 0x02, 0x00))))
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	r.Reset()
	if _, err := r.Next(); !errors.Is(err, inflate.ErrCorrupt) {
		t.Errorf("a match before the beginning: %v", err)
	}
}

func TestReaderReportsTruncation(t *testing.T) {
	for name, data := range contents() {
		for _, level := range []int{flate.HuffmanOnly, 0, 6} {
			stream := deflated(t, data[:min(len(data), 3000)], level)
			for n := range stream {
				if _, _, err := readAll(bytes.NewReader(stream[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s, level %d, cut at %d of %d: %v", name, level, n, len(stream), err)
				}
			}
		}
	}
}

func TestReaderReturnsErrorOfSource(t *testing.T) {
	cause := errors.New("cut off")
	for _, level := range []int{0, 6} {
		stream := deflated(t, contents()["text"], level)
		for _, n := range []int{0, 3, len(stream) / 2} {
			_, _, err := readAll(io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(cause)))
			if !errors.Is(err, cause) {
				t.Errorf("level %d after %d bytes: %v", level, n, err)
			}
		}
	}
}

// bitString makes bytes of bits as they are in a stream, the first the lowest.
func bitString(text string) []byte {
	text = strings.ReplaceAll(text, " ", "")
	out := make([]byte, (len(text)+7)/8)
	for i, c := range text {
		out[i/8] |= byte(c-'0') << (i % 8)
	}
	return out
}

func TestReaderRefuses(t *testing.T) {
	for name, bits := range map[string]string{
		"type of block":            "1 11",
		"length of a stored block": "1 00 00000 0000000000000001 0000000000000001",
		"too many literals":        "1 01 11111 00000 0000",
		"too many distances":       "1 01 00000 11111 0000",
		"no such literal":          "1 10 11000110",                         // 286 of the fixed code
		"no such distance":         "1 10 0000001 11110",                    // 30 of the fixed code
		"before the beginning":     "1 10 0000001 00000",                    // nothing is there to repeat
		"too many code lengths":    "1 01 00000 00000 0000 100 100 100 100", // four codes of one bit
		"too few code lengths":     "1 01 00000 00000 0000 000 000 000 010", // one of two bits
		"nothing to repeat":        "1 01 00000 00000 0000 100 000 000 100 0 00",
		"repeat too much":          "1 01 00000 00000 0000 000 000 100 100 1 1111111 1 1111111",
		"no code at all":           "1 01 00000 00000 0000 000 000 000 000",
	} {
		t.Run(name, func(t *testing.T) {
			// Behind it is more than a reader looks ahead.
			for _, more := range []int{0, 100} {
				stream := append(bitString(bits), make([]byte, more)...)
				_, _, err := readAll(bytes.NewReader(stream))
				if more > 0 && !errors.Is(err, inflate.ErrCorrupt) || err == nil {
					t.Errorf("with %d bytes more: %v", more, err)
				}
				if _, err := io.ReadAll(flate.NewReader(bytes.NewReader(stream))); err == nil {
					t.Error("the standard library takes it")
				}
			}
		})
	}
}

// FuzzReader looks for streams that are decoded otherwise by the standard library.
func FuzzReader(f *testing.F) {
	for _, data := range contents() {
		for _, level := range []int{flate.HuffmanOnly, 0, 6} {
			f.Add(deflated(f, data[:min(len(data), 2000)], level))
		}
	}
	f.Add(bitString("1 10 0000001 00000"))
	f.Fuzz(func(t *testing.T, in []byte) {
		reader := bytes.NewReader(in)
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(reader), most))
		if len(want) == most {
			return
		}
		got, rest, err := readAll(bytes.NewReader(in))
		// Where the input ends within a code that nothing has, either may be said.
		if (err == nil) != (wantErr == nil) || errors.Is(wantErr, io.ErrUnexpectedEOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ours: %v; the standard library: %v", err, wantErr)
		}
		if err == nil && (!bytes.Equal(got, want) || len(rest) != reader.Len()) {
			t.Errorf("ours: %d bytes, %d left; the standard library: %d bytes, %d left", len(got), len(rest), len(want), reader.Len())
		}
	})
}
