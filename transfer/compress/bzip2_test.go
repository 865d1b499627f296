package compress_test

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"strings"
	"testing"

	"berth/transfer/compress"
)

// The marks, in digits of four bits each: those of blocks and of ends of streams.
const (
	blockMark = "\x03\x01\x04\x01\x05\x09\x02\x06\x05\x03\x05\x09"
	finalMark = "\x01\x07\x07\x02\x04\x05\x03\x08\x05\x00\x09\x00"
)

// bits is a string of bits, of one byte each.
type bits []byte

func (b *bits) add(v uint64, n int) {
	for n--; n >= 0; n-- {
		*b = append(*b, byte(v>>n)&1)
	}
}

func (b *bits) bytes() []byte {
	out := make([]byte, (len(*b)+7)/8)
	for i, bit := range *b {
		out[i/8] |= bit << (7 - i%8)
	}
	return out
}

// block is a block whose symbols are digits of four bits, 15 being the end: so
// any bits that lack it can occur in it.
func (b *bits) block(sum uint32, digits string) {
	b.add(0x314159265359, 48)
	b.add(uint64(sum), 32)
	b.add(0, 1+24)    // not randomised, the first row
	b.add(0x8000, 16) // of 16 rows of byte values one is used,
	b.add(0xfffc, 16) // and of that 14 values
	selectors := len(digits)/50 + 1
	b.add(2, 3)
	b.add(uint64(selectors), 15)
	b.add(0, selectors) // all of them the first of two tables
	for range 2 {
		b.add(4, 5)
		b.add(0, 16) // each symbol takes as many bits as the one before
	}
	for _, d := range []byte(digits) {
		b.add(uint64(d), 4)
	}
	b.add(15, 4)
}

// final ends a stream.
func (b *bits) final(sum uint32) {
	b.add(0x177245385090, 48)
	b.add(uint64(sum), 32)
	b.add(0, -len(*b)&7)
}

// crafted makes a stream of blocks of digits, and what is in it.
func crafted(t *testing.T, level byte, blocks ...string) (stream, data []byte) {
	t.Helper()
	var b bits
	b.add(0x425a6800|uint64(level), 32)
	var total uint32
	for _, digits := range blocks {
		var alone bits
		alone.add(0x425a6839, 32)
		alone.block(0, digits)
		alone.final(0)
		// The checksum is wrong; what comes before that is right.
		content, _ := io.ReadAll(bzip2.NewReader(bytes.NewReader(alone.bytes())))
		sum := bzip2Sum(content)
		total = (total<<1 | total>>31) ^ sum
		b.block(sum, digits)
		data = append(data, content...)
	}
	b.final(total)
	stream = b.bytes()
	if got, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(stream))); err != nil || !bytes.Equal(got, data) || len(data) == 0 {
		t.Fatalf("the stream is not what it should be: %d bytes of %d, %v", len(got), len(data), err)
	}
	return stream, data
}

// bzip2Sum is the CRC-32 of bzip2, which begins at the highest bit.
func bzip2Sum(p []byte) uint32 {
	sum := ^uint32(0)
	for _, b := range p {
		sum ^= uint32(b) << 24
		for range 8 {
			if sum&(1<<31) != 0 {
				sum = sum<<1 ^ 0x04c11db7
			} else {
				sum <<= 1
			}
		}
	}
	return ^sum
}

// Bits within a block that look like a mark are data, wherever they stand.
func TestReaderFindsMarksInData(t *testing.T) {
	const some = "\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x02\x02\x0e"
	// What follows a false end looks like another stream, at a whole byte, whose
	// level the next block does not fit in.
	next := some + some + some + some + finalMark + some[:8]
	for _, d := range []byte("BZh1") {
		next += string([]byte{d >> 4, d & 15})
	}
	next += blockMark + some
	long := strings.Repeat("\x01", 17)
	for name, blocks := range map[string][]string{
		"none":            {some, some},
		"block":           {some + blockMark + some, some},
		"end":             {some + finalMark + some, some},
		"end of all":      {some, some + finalMark},
		"both":            {some, some + blockMark + finalMark + some, some},
		"three":           {blockMark + some + blockMark + blockMark},
		"in every block":  {some + blockMark, blockMark + some, finalMark + some},
		"another stream":  {next, long, some},
		"many bits apart": {some + blockMark + some, "\x02" + some + some + blockMark + some, some},
	} {
		t.Run(name, func(t *testing.T) {
			stream, data := crafted(t, '9', blocks...)
			checkDecode(t, compress.Tools{}, stream, data, compress.Bzip2)
			second, more := crafted(t, '1', some)
			checkDecode(t, compress.Tools{}, append(stream, second...), append(data, more...), compress.Bzip2)
			for n := len(stream) + 1; n < len(stream)+len(second); n++ {
				if _, _, err := decode(t, compress.Tools{}, bytes.NewReader(append(stream, second...)[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("cut at %d: %v", n, err)
				}
			}
		})
	}
}

// A file made of marks does not make us decode each block as often as it has any.
func TestReaderRefusesBlockOfMarks(t *testing.T) {
	var digits []byte
	for range 1000 {
		digits = append(digits, blockMark...)
	}
	stream, _ := crafted(t, '9', string(digits))
	if _, _, err := decode(t, compress.Tools{}, bytes.NewReader(stream)); !errors.Is(err, compress.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// Something that goes on and on without a mark is not collected.
func TestReaderRefusesEndlessBlock(t *testing.T) {
	stream, _ := crafted(t, '9', "\x02")
	head := stream[:len(stream)-12] // within the block
	for name, stream := range map[string][]byte{"block": head, "end": stream} {
		in := &counting{r: io.MultiReader(bytes.NewReader(stream), zeros{})}
		_, _, err := decode(t, compress.Tools{}, in)
		if !errors.Is(err, compress.ErrCorrupt) && !errors.Is(err, compress.ErrTrailingData) {
			t.Errorf("%s: got %v", name, err)
		}
		if in.n > 8<<20 {
			t.Errorf("%s: %d bytes were read", name, in.n)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// The end of a stream has a checksum of all its blocks.
func TestReaderVerifiesSumOfStream(t *testing.T) {
	stream, _ := crafted(t, '9', "\x02\x03")
	stream[len(stream)-3] ^= 1 // within the sum, wherever the end stands
	_, _, err := decode(t, compress.Tools{}, bytes.NewReader(stream))
	if !errors.Is(err, compress.ErrCorrupt) || !strings.Contains(err.Error(), "checksum of a stream") {
		t.Errorf("got %v", err)
	}
}

// Many blocks, each longer than a decoder may be ahead, arrive in their order.
func TestReaderKeepsOrderOfBlocks(t *testing.T) {
	var data []byte
	for n := range 4 {
		data = append(data, payload(150_000)...)
		data = append(data, bytes.Repeat([]byte{byte(n)}, 3<<20)...)
	}
	for _, s := range []sample{
		{"bzip2 -1", compress.Bzip2, by("bzip2", "-1", "-c")},
		{"streams", compress.Bzip2, parts(by("bzip2", "-1", "-c"))},
	} {
		got, _, err := decode(t, compress.Tools{}, bytes.NewReader(s.make(t, data)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: got %d of %d bytes, error %v", s.name, len(got), len(data), err)
		}
	}
}
