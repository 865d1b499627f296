package compress_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
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
		if zeros > 0 && zeros < 64<<10 {
			t.Errorf("told of %d zeros, each of which is some work", zeros)
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
				if test.window < 64<<10 {
					zeros = 0 // too few at once to be told of
				}
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
		if size >= 128<<10 && told < int64(least) {
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
		_, err = w.Write(data)
		if err := errors.Join(err, w.Close()); err != nil {
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
	zeros4096 := string(binary.LittleEndian.AppendUint32(nil, uint32(xxhash.Sum64(make([]byte, 4096)))))
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
		"good, of unknown size":    {"\x28\xb5\x2f\xfd\xc0\x00\xff\xff\xff\xff\xff\xff\xff\xff" + blankBlocks(9) + lastBlock, nil, 9 << 10},
		"good, dictionary 0":       {"\x28\xb5\x2f\xfd\x43\x00\x00\x00\x00\x00\x00\x0f" + blankBlocks(4) + lastBlock, nil, 4 << 10},
		"good, single, checked":    {"\x28\xb5\x2f\xfd\x64\x00\x0f" + blankBlocks(4) + lastBlock + zeros4096 + frameHead + blankBlocks(1) + lastBlock, nil, 5 << 10},
		"single, other checksum":   {"\x28\xb5\x2f\xfd\x64\x00\x0f" + blankBlocks(4) + lastBlock + zerosSum, compress.ErrCorrupt, -1},
		"single, no checksum":      {"\x28\xb5\x2f\xfd\x64\x00\x0f" + blankBlocks(4) + lastBlock + zeros4096[:3], io.ErrUnexpectedEOF, -1},
		"single, of one byte":      {"\x28\xb5\x2f\xfd\x20\x03" + block(rawBlock, 3, true, "\x00\x00\x00"), nil, 3},
		"blocks beyond 128 KiB":    {"\x28\xb5\x2f\xfd\x00\x50" + strings.Repeat(block(rleBlock, 128<<10, false, "\x00"), 9) + block(rleBlock, 128<<10+1, false, "\x00") + lastBlock, compress.ErrMemory, -1},
		"too big a window":         {"\x28\xb5\x2f\xfd\x00\x89" + blankBlocks(9) + lastBlock, compress.ErrMemory, -1},
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

// Streams that are put together at random, and then perhaps damaged, become what the
// library makes of them by itself, however they are read.
func TestZstdLikeTheLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	blocks := map[int][]string{}
	for window := 1 << 10; window <= 8<<10; window *= 2 {
		blocks[window] = encodedBlocks(t, r, window)
	}
	whole := 0
	for range 600 {
		stream := randomStream(t, r, blocks)
		if compress.Detect(stream) != compress.Zstd {
			continue
		}
		theirs, theirErr := decodeByLibrary(t, stream, 1<<30)
		ours, err := decodeMixed(t, r, stream)
		n := min(len(ours), len(theirs))
		if (err == nil) != (theirErr == nil) || !bytes.Equal(ours[:n], theirs[:n]) || err == nil && len(ours) != len(theirs) ||
			errors.Is(err, io.ErrUnexpectedEOF) != errors.Is(theirErr, io.ErrUnexpectedEOF) ||
			errors.Is(err, compress.ErrTrailingData) != errors.Is(theirErr, zstd.ErrMagicMismatch) {
			t.Fatalf("ours %d bytes, %v; the library %d, %v; stream %x", len(ours), err, len(theirs), theirErr, stream)
		}
		if err == nil {
			whole++
		}
	}
	if whole < 100 {
		t.Errorf("only %d streams were whole", whole)
	}
}

// decodeByLibrary returns most bytes at most.
func decodeByLibrary(t testing.TB, stream []byte, most int64) ([]byte, error) {
	t.Helper()
	d, err := zstd.NewReader(bytes.NewReader(stream),
		zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return io.ReadAll(io.LimitReader(d, most))
}

// decodeMixed reads in steps of all sizes.
func decodeMixed(t testing.TB, r *rand.Rand, stream []byte) (out []byte, err error) {
	t.Helper()
	src := []io.Reader{
		bytes.NewReader(stream), iotest.HalfReader(bytes.NewReader(stream)), iotest.DataErrReader(bytes.NewReader(stream)),
	}[r.IntN(3)]
	d, err := compress.Tools{}.NewReader(t.Context(), src)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for sizes := []int{0, 1, 7, 100, 1024, 5000, 200 << 10}; ; {
		p := make([]byte, sizes[r.IntN(len(sizes))])
		var n int
		var zeros int64
		if r.IntN(2) == 0 {
			n, err = d.Read(p)
		} else {
			n, zeros, err = d.ReadSparse(p)
		}
		out = append(append(out, p[:n]...), make([]byte, zeros)...)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

// encodedBlocks returns the blocks that an encoder makes of text with zeros in it,
// none of them the last.
func encodedBlocks(t testing.TB, r *rand.Rand, window int) (blocks []string) {
	var data []byte
	for len(data) < 8*window {
		if far := window * 3 / 4; len(data) > far && r.IntN(4) == 0 {
			data = append(data, data[len(data)-far:][:50]...)
		}
		data = fmt.Appendf(data, "%d %d ", r.IntN(30), r.IntN(1000))
		if r.IntN(10) == 0 {
			data = append(data, make([]byte, r.IntN(300))...)
		}
	}
	return blocksOf(t, encodeInGo(zstd.WithWindowSize(window), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))(t, data))
}

// blocksOf takes a stream of one frame without checksum apart.
func blocksOf(t testing.TB, stream []byte) (blocks []string) {
	t.Helper()
	var h zstd.Header
	if err := h.Decode(stream); err != nil {
		t.Fatal(err)
	}
	for rest := stream[h.HeaderSize:]; len(rest) > 0; {
		bits := int(rest[0]) | int(rest[1])<<8 | int(rest[2])<<16
		size := 3 + bits>>3
		if bits>>1&3 == rleBlock {
			size = 4
		}
		blocks = append(blocks, string(rest[0]&^1)+string(rest[1:size]))
		rest = rest[size:]
	}
	return blocks
}

// A window may be up to seven eighths more than a power of two, and what an encoder
// finds that far back must still be there behind zeros.
func TestZstdOddWindow(t *testing.T) {
	noise := make([]byte, 1<<10)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(noise)
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(8<<10), zstd.WithEncoderCRC(false), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{noise, make([]byte, 5<<10), noise} {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	blocks := blocksOf(t, out.Bytes())
	first, again := blocks[0], blocks[len(blocks)-1]
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(again) > 100 {
		t.Fatalf("a block of %d bytes: the encoder did not find what it had", len(again))
	}
	const window = "\x17" // 4 KiB and seven eighths of that
	stream := "\x28\xb5\x2f\xfd\x00" + window + first + blankBlocks(5) + again + lastBlock
	got, _, err := decodeSparse(t, strings.NewReader(stream), 4096)
	if err != nil || !bytes.Equal(got, slices.Concat(noise, make([]byte, 5<<10), noise)) {
		t.Errorf("got %d bytes, or others, and %v", len(got), err)
	}
}

// randomStream makes frames and perhaps damages them.
func randomStream(t testing.TB, r *rand.Rand, blocks map[int][]string) (stream []byte) {
	for range 1 + r.IntN(3) {
		if r.IntN(4) == 0 {
			stream = append(stream, skippableFrame...)
		}
		stream = append(stream, randomFrame(t, r, blocks)...)
	}
	switch r.IntN(6) {
	case 0:
		stream = stream[:r.IntN(len(stream))]
	case 1:
		stream[r.IntN(len(stream))] ^= 1 << r.IntN(8)
	case 2:
		stream = append(stream, "trailing"[:r.IntN(9)]...)
	}
	return stream
}

// randomFrame puts rows of zeros between the blocks of an encoder. Its window is the
// encoder's, or a little less.
func randomFrame(t testing.TB, r *rand.Rand, blocks map[int][]string) []byte {
	log := r.IntN(4)
	window, by := 1<<(10+log), byte(log<<3)
	encoded := blocks[window]
	if log > 0 && r.IntN(2) == 0 {
		by -= 8 - 7
		window = window / 16 * 15
	}
	var body []string
	row := func() {
		most := []int{window, window / 8}[r.IntN(2)]
		for range r.IntN(16) {
			size := []int{most, r.IntN(most + 1)}[r.IntN(2)]
			body = append(body, block(rleBlock, size, false, "\x00"))
			if r.IntN(25) == 0 {
				body = append(body, []string{
					block(rawBlock, 0, false, ""), block(rleBlock, 0, false, "\x00"), block(rleBlock, r.IntN(window), false, "x"),
					block(rawBlock, 4, false, "\x00\x00\x00\x00"), block(2, 2, false, "\x00\x00"),
				}[r.IntN(5)])
			}
		}
	}
	row()
	from := r.IntN(len(encoded)) * r.IntN(2)
	for _, b := range encoded[from : from+r.IntN(len(encoded)-from+1)] {
		body = append(body, b)
		if r.IntN(3) == 0 {
			row()
		}
	}
	body = append(body, []string{lastBlock, block(rleBlock, r.IntN(window+1), true, "\x00")}[r.IntN(2)])
	all := strings.Join(body, "")
	content, err := decodeByLibrary(t, []byte("\x28\xb5\x2f\xfd\x00"+string([]byte{by})+all), 1<<30)
	if err != nil && r.IntN(4) > 0 {
		return randomFrame(t, r, blocks)
	}
	return finishFrame(r, by, all, content)
}

// finishFrame gives a frame a header and perhaps a checksum.
func finishFrame(r *rand.Rand, by byte, body string, content []byte) []byte {
	const checked, single, size4 = 1 << 2, 1 << 5, 2 << 6
	id := r.IntN(4) * (r.IntN(6) / 5)
	flags := byte([]int{0, checked}[r.IntN(2)] | []int{0, size4}[r.IntN(2)] | id)
	if r.IntN(8) == 0 {
		flags |= single | size4
	}
	frame := append([]byte("\x28\xb5\x2f\xfd"), flags)
	if flags&single == 0 {
		frame = append(frame, by)
	}
	frame = append(frame, make([]byte, []int{0, 1, 2, 4}[id])...)
	if flags&size4 != 0 {
		frame = binary.LittleEndian.AppendUint32(frame, uint32(len(content)+r.IntN(12)/11))
	}
	frame = append(frame, body...)
	if flags&checked != 0 {
		frame = binary.LittleEndian.AppendUint32(frame, uint32(xxhash.Sum64(content)))
	}
	return frame
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
		theirs, theirErr := decodeByLibrary(t, in, most)
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
