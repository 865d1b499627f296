package compress_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"berth/transfer/compress"
)

// decodeSparse decodes with ReadSparse and returns also how many zeros were told.
func decodeSparse(t testing.TB, r io.Reader, size int) (out []byte, told int64, err error) {
	t.Helper()
	d, err := compress.Tools{}.NewReader(t.Context(), r)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	p := make([]byte, size)
	for {
		n, zeros, err := d.ReadSparse(p)
		if n > 0 && zeros > 0 {
			t.Error("bytes and zeros at once")
		}
		out = append(out, p[:n]...)
		out = append(out, make([]byte, zeros)...)
		told += zeros
		if err == io.EOF {
			return out, told, nil
		}
		if err != nil {
			return out, told, err
		}
	}
}

// patchy returns data and zeros in turn, in pieces around a size. Some of the data
// is there twice, so that an encoder finds it again behind the zeros.
func patchy(r *rand.Rand, around, pieces int) (data []byte, zeros int) {
	noise := rand.NewChaCha8([32]byte{byte(r.Uint32())})
	for i := range pieces {
		n := r.IntN(3 * around)
		if i%2 == 1 {
			data = append(data, make([]byte, n)...)
			zeros += n
			continue
		}
		piece := make([]byte, n)
		_, _ = noise.Read(piece)
		if len(data) > 0 && r.IntN(2) == 0 {
			at := r.IntN(len(data))
			copy(piece, data[at:])
		}
		data = append(data, piece...)
	}
	return data, zeros
}

// Zeros are left out before the decoder and put back behind it: nothing may move.
func TestZstdZeros(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, test := range []struct {
		name   string
		window int // of the encoder, and what pieces are as large as
		make   func(testing.TB, []byte) []byte
	}{
		{"window of 1 KiB", 1 << 10, by("zstd", "-c", "--zstd=wlog=10")},
		{"window of 64 KiB", 64 << 10, by("zstd", "-c", "--zstd=wlog=16")},
		{"window of 256 KiB", 256 << 10, by("zstd", "-1", "-c", "--zstd=wlog=18")},
		{"best", 64 << 10, by("zstd", "-19", "-c", "--zstd=wlog=16")},
		{"no checksum", 64 << 10, by("zstd", "-c", "--no-check", "--zstd=wlog=16")},
		{"frames", 64 << 10, parts(by("zstd", "-c", "--zstd=wlog=16"), []byte(skippableFrame)...)},
		{"threads", 256 << 10, by("zstd", "-T2", "-c", "--zstd=wlog=18")},
		{"with its size", 64 << 10, func(t testing.TB, data []byte) []byte {
			return run(t, data, "zstd", "-c", "--zstd=wlog=16", fmt.Sprint("--stream-size=", len(data)))
		}},
		{"in Go", 64 << 10, encodeInGo(zstd.WithWindowSize(64<<10), zstd.WithEncoderConcurrency(1))},
		{"in Go without checksum", 1 << 10, encodeInGo(zstd.WithWindowSize(1<<10), zstd.WithEncoderCRC(false))},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 3 {
				data, zeros := patchy(r, 2*test.window, 20)
				checkZeros(t, test.make(t, data), data, zeros/8)
			}
		})
	}
}

// What an encoder finds again before a row of zeros that is shorter than the window
// must still be there behind it.
func TestZstdRemembersAcrossZeros(t *testing.T) {
	noise := make([]byte, 200<<10)
	_, _ = rand.NewChaCha8([32]byte{8}).Read(noise)
	for zeros := 64 << 10; zeros < 1<<20; zeros += 64 << 10 {
		data := slices.Concat(noise, make([]byte, zeros), noise)
		stream := run(t, data, "zstd", "-c", "--zstd=wlog=20")
		got, _, err := decodeSparse(t, bytes.NewReader(stream), 128<<10)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d zeros: %d bytes of %d, or others, and error %v", zeros, len(got), len(data), err)
		}
	}
}

// checkZeros decodes in all ways, and wants to be told of zeros.
func checkZeros(t *testing.T, stream, data []byte, least int) {
	t.Helper()
	for _, size := range []int{1000, 128 << 10, 1 << 20} {
		got, told, err := decodeSparse(t, bytes.NewReader(stream), size)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d at once: %d bytes of %d, or others, and error %v", size, len(got), len(data), err)
		}
		if told < int64(least) {
			t.Errorf("%d at once: told of %d zeros, less than %d", size, told, least)
		}
	}
	got, _, err := decode(t, compress.Tools{}, iotest.HalfReader(bytes.NewReader(stream)))
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("as bytes: %d of %d, or others, and error %v", len(got), len(data), err)
	}
	var out bytes.Buffer
	if err := decodeTo(t, compress.Tools{}, &out, bytes.NewReader(stream)); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Fatalf("written: %d bytes of %d, or others, and error %v", out.Len(), len(data), err)
	}
}

func encodeInGo(options ...zstd.EOption) func(testing.TB, []byte) []byte {
	return func(t testing.TB, data []byte) []byte {
		var out bytes.Buffer
		w, err := zstd.NewWriter(&out, options...)
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
}

// A frame of blocks that are put together by hand, as RFC 8878 has them.
const (
	rawBlock = 0
	rleBlock = 1
	noBlock  = 3
)

// frameHead begins a frame with a window of 1 KiB and no checksum.
const frameHead = "\x28\xb5\x2f\xfd\x00\x00"

func block(kind, size int, last bool, content string) string {
	bits := size<<3 | kind<<1
	if last {
		bits |= 1
	}
	return string([]byte{byte(bits), byte(bits >> 8), byte(bits >> 16)}) + content
}

func blankBlocks(n int) string {
	return string(bytes.Repeat([]byte(block(rleBlock, 1024, false, "\x00")), n))
}

var lastBlock = block(rawBlock, 0, true, "")

// What is wrong in a frame whose zeros are left out is found as in any other.
func TestZstdZerosInBadFrames(t *testing.T) {
	const sized = "\x28\xb5\x2f\xfd\x40\x00\x00\x0f" // 0x0f00+256 = 4096 bytes
	const checked = "\x28\xb5\x2f\xfd\x04\x00"       // with a checksum
	const zerosSum = "\x5f\x62\x4d\x3e"              // of another content
	const single = "\x28\xb5\x2f\xfd\x60\x00\x0f"    // its own window, 4096 bytes
	for name, test := range map[string]struct {
		stream string
		err    error
		size   int
	}{
		"good":                     {frameHead + blankBlocks(9) + lastBlock, nil, 9 << 10},
		"good, zeros last":         {frameHead + blankBlocks(9) + block(rleBlock, 5, true, "\x00"), nil, 9<<10 + 5},
		"good, sized":              {sized + blankBlocks(4) + lastBlock, nil, 4 << 10},
		"good, single":             {single + blankBlocks(4) + lastBlock, nil, 4 << 10},
		"good, empty blocks":       {frameHead + blankBlocks(4) + block(rleBlock, 0, false, "\x00") + block(rawBlock, 0, false, "") + blankBlocks(4) + lastBlock, nil, 8 << 10},
		"one more than it says":    {sized + blankBlocks(4) + block(rawBlock, 1, true, "x"), compress.ErrCorrupt, -1},
		"zeros more than it says":  {sized + blankBlocks(5) + lastBlock, compress.ErrCorrupt, -1},
		"less than it says":        {sized + blankBlocks(3) + lastBlock, compress.ErrCorrupt, -1},
		"single, more":             {single + blankBlocks(5) + lastBlock, compress.ErrCorrupt, -1},
		"single, less":             {single + blankBlocks(3) + lastBlock, compress.ErrCorrupt, -1},
		"other checksum":           {checked + blankBlocks(9) + lastBlock + zerosSum, compress.ErrCorrupt, -1},
		"cut in checksum":          {checked + blankBlocks(9) + lastBlock + zerosSum[:3], io.ErrUnexpectedEOF, -1},
		"no checksum":              {checked + blankBlocks(9) + lastBlock, io.ErrUnexpectedEOF, -1},
		"cut in zeros":             {frameHead + blankBlocks(9), io.ErrUnexpectedEOF, -1},
		"cut in a header":          {frameHead + blankBlocks(9) + lastBlock[:2], io.ErrUnexpectedEOF, -1},
		"cut before the byte":      {frameHead + blankBlocks(9) + block(rleBlock, 9, true, ""), io.ErrUnexpectedEOF, -1},
		"zeros beyond the window":  {frameHead + blankBlocks(9) + block(rleBlock, 1025, true, "\x00"), compress.ErrMemory, -1},
		"bytes beyond the window":  {frameHead + blankBlocks(9) + block(rleBlock, 1025, true, "x"), compress.ErrMemory, -1},
		"no known block":           {frameHead + blankBlocks(9) + block(noBlock, 9, true, ""), compress.ErrCorrupt, -1},
		"zeros left out beyond it": {frameHead + blankBlocks(9) + block(rleBlock, 1025, false, "\x00") + lastBlock, compress.ErrMemory, -1},
		"more, and cut":            {sized + blankBlocks(5), compress.ErrCorrupt, -1},
		"then something":           {frameHead + blankBlocks(9) + lastBlock + "something", compress.ErrTrailingData, -1},
		"reserved flag":            {"\x28\xb5\x2f\xfd\x08\x00" + blankBlocks(9) + lastBlock, compress.ErrCorrupt, -1},
		"dictionary":               {"\x28\xb5\x2f\xfd\x01\x00\x07" + blankBlocks(9) + lastBlock, compress.ErrUnsupported, -1},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := decodeSparse(t, bytes.NewReader([]byte(test.stream)), 4096)
			if !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			if test.size >= 0 && !bytes.Equal(got, make([]byte, test.size)) {
				t.Errorf("got %d bytes instead of %d zeros", len(got), test.size)
			}
		})
	}
}

// Whoever bounds a disk hears of its size before the stream has ended.
func TestZstdTellsOfZerosInTime(t *testing.T) {
	blocks := bytes.Repeat([]byte(block(rleBlock, 128<<10, false, "\x00")), 32<<10) // 4 GiB
	stream := slices.Concat([]byte("\x28\xb5\x2f\xfd\x00\x70"), blocks, []byte(lastBlock))
	d, err := compress.Tools{}.NewReader(t.Context(), bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var sum, most int64
	for {
		n, zeros, err := d.ReadSparse(make([]byte, 4096))
		sum, most = sum+int64(n)+zeros, max(most, zeros)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if sum != 4<<30 || most > 1<<30+128<<10 || most < 1<<29 {
		t.Errorf("%d bytes, at most %d of them at once", sum, most)
	}
	if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
	if n, zeros, err := d.ReadSparse(make([]byte, 1)); n != 0 || zeros != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %d, %v", n, zeros, err)
	}
}

// FuzzZstd looks for streams of which ours makes something else than the library
// does by itself.
func FuzzZstd(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, window := range []int{1 << 10, 8 << 10} {
		data, _ := patchy(r, window, 6)
		for _, crc := range []bool{true, false} {
			f.Add(encodeInGo(zstd.WithWindowSize(window), zstd.WithEncoderCRC(crc))(f, data))
		}
	}
	f.Add([]byte(frameHead + blankBlocks(9) + lastBlock))
	f.Add([]byte(frameHead + block(rawBlock, 3, false, "abc") + blankBlocks(3) + lastBlock + skippableFrame + frameHead + lastBlock))
	f.Add([]byte("\x28\xb5\x2f\xfd\x60\x00\x0f" + blankBlocks(4) + lastBlock))
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, in []byte) {
		if compress.Detect(in) != compress.Zstd {
			return
		}
		d, err := zstd.NewReader(bytes.NewReader(in), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1), zstd.WithDecodeBuffersBelow(0))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		theirs, theirErr := io.ReadAll(io.LimitReader(d, most))
		if len(theirs) == most {
			return // damage behind that would be seen by one of them only
		}
		ours, _, err := decodeSparse(t, bytes.NewReader(in), 4096)
		if (err == nil) != (theirErr == nil) {
			t.Errorf("ours: %v; the library: %v", err, theirErr)
		}
		if err == nil && !bytes.Equal(ours, theirs) {
			t.Errorf("ours %d bytes, the library %d other ones", len(ours), len(theirs))
		}
	})
}
