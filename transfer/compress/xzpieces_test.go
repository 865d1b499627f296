package compress_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"berth/transfer/compress"
)

// needPieces skips a test on hosts where nothing is decoded side by side.
func needPieces(t testing.TB) {
	t.Helper()
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("needs two processors")
	}
}

// large returns so much data that several programs are needed, some of it zeros.
var large = sync.OnceValue(func() []byte {
	some := payload(1<<20 + 5)
	return slices.Concat(bytes.Repeat(some, 6), make([]byte, 10<<20), bytes.Repeat(some, 14))
})

func TestXZPieces(t *testing.T) {
	needPieces(t)
	data := large()
	for name, make := range map[string]func(testing.TB, []byte) []byte{
		"blocks of 24 MiB": by("xz", "-0", "-T2", "--block-size=25165824", "-c"),
		"blocks of 1 MiB":  by("xz", "-0", "-T2", "--block-size=1048576", "-c"),
		"blocks of 4 KiB":  by("xz", "-0", "-T2", "--block-size=4096", "-c"),
		"odd blocks":       by("xz", "-0", "-T2", "--block-list=12345,12MiB,1,7MiB,4099", "-c"),
		"streams":          parts(by("xz", "-0", "-T2", "--block-size=3145728", "-c"), 0, 0, 0, 0),
		"no check":         by("xz", "-0", "-T2", "-C", "none", "--block-size=9437184", "-c"),
		"sha256":           by("xz", "-0", "-T2", "-C", "sha256", "--block-size=9437184", "-c"),
		"then in one": func(t testing.TB, data []byte) []byte {
			n := 15 << 20
			return append(by("xz", "-0", "-T2", "--block-size=9437184", "-c")(t, data[:n]), by("xz", "-0", "-T1", "-c")(t, data[n:])...)
		},
		"then a large window": func(t testing.TB, data []byte) []byte {
			n := 15 << 20
			return append(by("xz", "-0", "-T2", "--block-size=9437184", "-c")(t, data[:n]),
				by("xz", "--lzma2=preset=0,dict=32MiB", "-T2", "--block-size=9437184", "-c")(t, data[n:])...)
		},
		"then a filter": func(t testing.TB, data []byte) []byte {
			n := 15 << 20
			return append(by("xz", "-0", "-T2", "--block-size=9437184", "-c")(t, data[:n]),
				by("xz", "--x86", "--lzma2=preset=0", "-T2", "--block-size=9437184", "-c")(t, data[n:])...)
		},
		"another filter in the stream": func(t testing.TB, data []byte) []byte {
			n, m := 15<<20, 20<<20
			sized := by("xz", "-0", "-T2", "--block-size=33554432", "-c")
			other := by("xz", "--x86", "--lzma2=preset=0", "-T2", "--block-size=33554432", "-c")
			return joinBlocks(t, sized(t, data[:n]), other(t, data[n:m]), sized(t, data[m:]))
		},
		"a large window in the stream": func(t testing.TB, data []byte) []byte {
			n, m := 15<<20, 20<<20
			sized := by("xz", "-0", "-T2", "--block-size=33554432", "-c")
			other := by("xz", "--lzma2=preset=0,dict=32MiB", "-T2", "--block-size=33554432", "-c")
			return joinBlocks(t, sized(t, data[:n]), other(t, data[n:m]), other(t, data[m:]))
		},
		"blocks of unknown size": func(t testing.TB, data []byte) []byte {
			n, m := 26<<20, 27<<20
			sized := by("xz", "-0", "-T2", "--block-size=33554432", "-c")
			return joinBlocks(t, sized(t, data[:n]), by("xz", "-0", "-T1", "-c")(t, data[n:m]), sized(t, data[m:]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := make(t, data)
			got, _, err := decode(t, compress.HostTools(), iotest.HalfReader(bytes.NewReader(stream)))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d, or others, and error %v", len(got), len(data), err)
			}
		})
	}
}

// Small streams, and small blocks, do not take a program each.
func TestXZPiecesOfManyStreams(t *testing.T) {
	needPieces(t)
	count := filepath.Join(t.TempDir(), "count")
	tools := fakeXZ(t, "50040022", "echo >> "+count+"; exec /usr/bin/xz \"$@\"")
	one := by("xz", "-0", "-T2", "-c")(t, []byte("x"))
	heavy := by("xz", "--lzma2=preset=0,dict=32MiB", "-T2", "-c")(t, []byte("x"))
	for name, test := range map[string]struct {
		stream       []byte
		blocks, most int
	}{
		"streams":         {bytes.Repeat(one, 3000), 3000, 3},
		"blocks":          {joinBlocks(t, slices.Repeat([][]byte{one}, 100)...), 100, 1},
		"unlike in turn":  {joinBlocks(t, slices.Repeat([][]byte{one, heavy}, 50)...), 100, 2},
		"streams in turn": {bytes.Repeat(slices.Concat(one, heavy), 1000), 2000, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(count, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			got, _, err := decode(t, tools, bytes.NewReader(test.stream))
			if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("x"), test.blocks)) {
				t.Errorf("%d bytes and error %v", len(got), err)
			}
			if starts, err := os.ReadFile(count); err != nil || len(starts) == 0 || len(starts) > test.most {
				t.Errorf("%d programs were started, %v", len(starts), err)
			}
		})
	}
}

// endless gives a file, and then one piece again and again.
type endless struct {
	file, left, again []byte
	given             chan struct{} // gets something with each read after the file
}

func (e *endless) Read(p []byte) (n int, err error) {
	if len(e.file) > 0 {
		n = copy(p, e.file)
		e.file = e.file[n:]
		return n, nil
	}
	select {
	case e.given <- struct{}{}:
	default:
	}
	if len(e.left) == 0 {
		e.left = e.again
	}
	n = copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

// Close does not wait for more than one read, whatever else there is to come.
func TestXZPiecesCloseBeforeTheEnd(t *testing.T) {
	needPieces(t)
	file := by("xz", "-0", "-T2", "-c")(t, payload(100_000))
	for name, src := range map[string]*endless{
		"padding":       {file: file, again: make([]byte, 4096)},
		"empty streams": {file: file, again: by("xz", "-0", "-c")(t, nil)},
		"within a unit": {file: file[:len(file)/2], again: []byte("x")},
	} {
		t.Run(name, func(t *testing.T) {
			src.given = make(chan struct{}, 1)
			d, err := compress.HostTools().NewReader(t.Context(), src)
			if err != nil {
				t.Fatal(err)
			}
			<-src.given
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The end of the context is heard of between blocks too, and before the first.
func TestXZPiecesEndWithContext(t *testing.T) {
	needPieces(t)
	cause := errors.New("given up")
	file := by("xz", "-0", "-T2", "-c")(t, payload(100_000))
	for _, n := range []int{6, 20, len(file)} {
		src, feed := io.Pipe()
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			_, _ = feed.Write(file[:n])
		}()
		ctx, cancel := context.WithCancelCause(t.Context())
		d, err := compress.HostTools().NewReader(ctx, src)
		if err != nil {
			t.Fatal(err)
		}
		if n == len(file) { // programs hold some output back
			if _, err := io.CopyN(io.Discard, d, 90_000); err != nil {
				t.Error(err)
			}
		}
		<-fed
		cancel(cause)
		if _, err := io.Copy(io.Discard, d); !errors.Is(err, cause) {
			t.Errorf("after %d bytes: got %v", n, err)
		}
		_ = feed.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if d, err := compress.HostTools().NewReader(ctx, bytes.NewReader(file)); !errors.Is(err, cause) {
			t.Errorf("after the end of the context: %v, %v", d, err)
		}
	}
}

// xzFile is a file of one block, taken apart.
type xzFile struct{ head, block, record []byte }

func takeApart(t testing.TB, file []byte) xzFile {
	t.Helper()
	foot := file[len(file)-12:]
	size := int(binary.LittleEndian.Uint32(foot[4:])+1) * 4
	index := file[len(file)-12-size : len(file)-12]
	if index[0] != 0 || index[1] != 1 {
		t.Fatal("not a file of one block")
	}
	_, n := binary.Uvarint(index[2:])
	_, m := binary.Uvarint(index[2+n:])
	return xzFile{file[:12], file[12 : len(file)-12-size], index[2 : 2+n+m]}
}

// joinBlocks makes one stream of the blocks of several.
func joinBlocks(t testing.TB, files ...[]byte) (file []byte) {
	t.Helper()
	index := []byte{0, byte(len(files))}
	for _, f := range files {
		part := takeApart(t, f)
		if file == nil {
			file = bytes.Clone(part.head)
		}
		file = append(file, part.block...)
		index = append(index, part.record...)
	}
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	foot := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	foot = append(foot, file[6:8]...)
	file = append(file, index...)
	file = binary.LittleEndian.AppendUint32(file, crc32.ChecksumIEEE(foot))
	return append(append(file, foot...), "YZ"...)
}

// What is wrong with a block, or between blocks, is an error.
func TestXZPiecesOfBadFiles(t *testing.T) {
	needPieces(t)
	data := large()[:16<<20]
	good := by("xz", "-0", "-T2", "--block-size=3145728", "-c")(t, data)
	r := rand.New(rand.NewPCG(1, 9))
	for range 16 {
		n := compress.MagicLen + r.IntN(len(good)-compress.MagicLen)
		if got := checkBad(t, good[:n], io.ErrUnexpectedEOF); !bytes.HasPrefix(data, got) {
			t.Errorf("cut at %d: %d bytes of other data", n, len(got))
		}
		bad := bytes.Clone(good)
		bad[12+r.IntN(len(good)-12)] ^= 1 << r.IntN(8)
		checkBad(t, bad, nil)
	}
	small := by("xz", "-0", "-T2", "-c")(t, data[:1000])
	other := by("xz", "-0", "-T2", "-c")(t, data[:1001])
	swapped := joinBlocks(t, small, other)
	index := len(swapped) - 12 - 12
	copy(swapped[index:], joinBlocks(t, other, small)[index:])
	checkBad(t, swapped, compress.ErrCorrupt)
	lying := bytes.Clone(small)
	header := lying[12 : 12+(int(lying[12])+1)*4]
	_, n := binary.Uvarint(header[2:])
	header[2+n] ^= 1 // a byte of the uncompressed size
	binary.LittleEndian.PutUint32(header[len(header)-4:], crc32.ChecksumIEEE(header[:len(header)-4]))
	checkBad(t, lying, compress.ErrCorrupt)
}

func checkBad(t *testing.T, stream []byte, want error) []byte {
	t.Helper()
	got, _, err := decode(t, compress.HostTools(), bytes.NewReader(stream))
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%d bytes: got error %v, want %v", len(stream), err, want)
	}
	return got
}

// children counts the processes that this one started and did not wait for.
func children(t testing.TB) (n int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		if text, err := os.ReadFile(list); err == nil {
			n += len(bytes.Fields(text))
		}
	}
	return n
}

// Programs that wait, for input or for somebody to read, end with their reader.
func TestXZPiecesCloseEarly(t *testing.T) {
	needPieces(t)
	stream := by("xz", "-0", "-T2", "--block-size=12582912", "-c")(t, slices.Concat(large(), large()))
	files, running := openFiles(t), children(t)
	for _, n := range []int{1, 20 << 20, 45 << 20} {
		for name, end := range map[string]func(cancel func(), d io.Closer) error{
			"closed":    func(_ func(), d io.Closer) error { return d.Close() },
			"cancelled": func(cancel func(), d io.Closer) error { cancel(); return d.Close() },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			d, err := compress.HostTools().NewReader(ctx, bytes.NewReader(stream))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, d, int64(n)); err != nil {
				t.Error(err)
			}
			if children(t) == running {
				t.Errorf("%s after %d bytes: no program ran", name, n)
			}
			if err := end(cancel, d); err != nil {
				t.Errorf("%s after %d bytes: %v", name, n, err)
			}
			cancel()
			if a, b := openFiles(t), children(t); a != files || b != running {
				t.Errorf("%s after %d bytes: %d files and %d processes, %d and %d before", name, n, a, b, files, running)
			}
		}
	}
}

// A reader whose source was given up half way ends with that.
func TestXZPiecesOfASourceThatStops(t *testing.T) {
	needPieces(t)
	data := large()
	stream := by("xz", "-0", "-T2", "--block-size=9437184", "-c")(t, data)
	cause := errors.New("given up")
	for _, n := range []int{100, len(stream) / 3, len(stream) - 5} {
		src, feed := io.Pipe()
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			_, _ = feed.Write(stream[:n]) // until it is closed
		}()
		d, err := compress.HostTools().NewReader(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1000)
		read := make(chan error)
		go func() {
			_, err := io.ReadFull(d, got)
			read <- err
		}()
		if n > 100 {
			if err := <-read; err != nil || !bytes.Equal(got, data[:1000]) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		_ = feed.CloseWithError(cause)
		if n == 100 {
			if err := <-read; !errors.Is(err, cause) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		<-fed
	}
}
