package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"berth/transfer"
	"berth/transfer/compress"
	"berth/transfer/disk"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noise returns n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func open(r io.Reader) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }
}

func TestFanGivesEverySinkEveryByte(t *testing.T) {
	want := noise(5<<20 + 17)
	var a, b bytes.Buffer
	h := sha256.New()
	if err := transfer.Fan(t.Context(), open(bytes.NewReader(want)), &a, h, &b); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(want)
	if !bytes.Equal(a.Bytes(), want) || !bytes.Equal(b.Bytes(), want) || !bytes.Equal(h.Sum(nil), sum[:]) {
		t.Error("a sink got other bytes than the source had")
	}
}

func TestFanTellsWhichSideFailed(t *testing.T) {
	cause := errors.New("cause")
	tests := map[string]struct {
		src  io.Reader
		sink io.Writer
		side transfer.Side
	}{
		"source": {iotest.ErrReader(cause), io.Discard, transfer.Source},
		"late source": {
			io.MultiReader(bytes.NewReader(noise(3<<20)), iotest.ErrReader(cause)),
			io.Discard, transfer.Source,
		},
		"sink": {bytes.NewReader(noise(3 << 20)), failing{cause}, transfer.Sink},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := transfer.Fan(t.Context(), open(test.src), test.sink, io.Discard)
			var side *transfer.Error
			if !errors.As(err, &side) || side.Side != test.side || !errors.Is(err, cause) {
				t.Errorf("got %#v, want the cause with side %s", err, test.side)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A sink that fails must wake a source that waits for a silent peer.
func TestFanSinkEndsWaitingSource(t *testing.T) {
	cause := errors.New("disk full")
	source := func(ctx context.Context) (io.ReadCloser, error) {
		first := true
		return io.NopCloser(readerFunc(func(p []byte) (int, error) {
			if first {
				first = false
				return copy(p, "x"), nil
			}
			<-ctx.Done()
			return 0, ctx.Err()
		})), nil
	}
	if err := transfer.Fan(t.Context(), source, failing{cause}); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestFanEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("cancelled by hand")
	source := func(ctx context.Context) (io.ReadCloser, error) {
		return io.NopCloser(readerFunc(func([]byte) (int, error) {
			cancel(cause)
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})), nil
	}
	if err := transfer.Fan(ctx, source, io.Discard); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func TestAhead(t *testing.T) {
	want := noise(3<<20 + 5)
	for name, r := range map[string]io.Reader{
		"whole":     bytes.NewReader(want),
		"one byte":  iotest.OneByteReader(bytes.NewReader(want)),
		"data, EOF": iotest.DataErrReader(bytes.NewReader(want)),
	} {
		t.Run(name, func(t *testing.T) {
			a := transfer.NewAhead(r)
			defer a.Close()
			if err := iotest.TestReader(io.LimitReader(a, 10), want[:10]); err != nil {
				t.Error(err)
			}
			rest, err := io.ReadAll(a)
			if err != nil {
				t.Error(err)
			}
			if !bytes.Equal(rest, want[10:]) {
				t.Errorf("got %d other bytes", len(rest))
			}
		})
	}
}

// withZeros gives bytes, zeros and bytes, and tells of the zeros if asked.
type withZeros struct {
	io.Reader
	first, zeros, last int
}

func (r *withZeros) ReadSparse(p []byte) (n int, zeros int64, err error) {
	switch {
	case r.first > 0:
		n = min(len(p), r.first)
		r.first -= n
	case r.zeros > 0:
		zeros = int64(min(r.zeros, 40<<20))
		r.zeros -= int(zeros)
		return 0, zeros, nil
	case r.last > 0:
		n = min(len(p), r.last)
		r.last -= n
	default:
		return 0, 0, io.ErrUnexpectedEOF
	}
	for i := range p[:n] {
		p[i] = 'x'
	}
	return n, 0, nil
}

// Zeros that the source tells of arrive in their place, told or as bytes.
func TestAheadPassesZerosOn(t *testing.T) {
	for _, src := range []withZeros{{first: 700_000, zeros: 70 << 20, last: 5}, {zeros: 5}, {first: 5, zeros: 1}, {last: 5}} {
		want := strings.Repeat("x", src.first) + strings.Repeat("\x00", src.zeros) + strings.Repeat("x", src.last)
		a := transfer.NewAhead(&withZeros{first: src.first, zeros: src.zeros, last: src.last})
		got, err := io.ReadAll(a)
		if string(got) != want || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v: got %d bytes, or others, and %v", src, len(got), err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		a = transfer.NewAhead(&withZeros{first: src.first, zeros: src.zeros, last: src.last})
		var told int64
		got = got[:0]
		for p := make([]byte, 1000); ; {
			n, zeros, err := a.ReadSparse(p)
			if errors.Is(err, io.ErrUnexpectedEOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			told += zeros
			got = append(append(got, p[:n]...), make([]byte, zeros)...)
		}
		if string(got) != want || told != int64(src.zeros) {
			t.Errorf("%+v: got %d bytes, or others, and was told of %d zeros", src, len(got), told)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A disk image keeps its content and gets its holes whichever encoder left out its
// zeros, and is refused for its size before that is taken.
func TestUnpackSparseDisk(t *testing.T) {
	image := slices.Concat(noise(1<<20+4096), make([]byte, 12<<20), noise(5000), make([]byte, 9<<20), noise(3), make([]byte, 3<<20+1))
	for _, format := range []compress.Format{compress.None, compress.Gzip, compress.Zstd} {
		var packed bytes.Buffer
		err := transfer.Pack(t.Context(), &packed, format, func(_ context.Context, w io.Writer) error {
			_, err := w.Write(image)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, take := range map[string]func(target, scratch *os.File, most int64) transfer.Taker{
			"disk":  transfer.Disk,
			"plain": func(target, _ *os.File, most int64) transfer.Taker { return transfer.Plain(target, most) },
		} {
			target, scratch := tempFile(t), tempFile(t)
			size := int64(len(image))
			if err := transfer.Unpack(t.Context(), bytes.NewReader(packed.Bytes()), take(target, scratch, size)); err != nil {
				t.Fatalf("%s, %s: %v", format, name, err)
			}
			got, err := os.ReadFile(target.Name())
			if err != nil || !bytes.Equal(got, image) {
				t.Errorf("%s, %s: %d bytes of %d, or others, and %v", format, name, len(got), len(image), err)
			}
			var st unix.Stat_t
			if err := unix.Fstat(int(target.Fd()), &st); err != nil || st.Blocks*512 > 2<<20 {
				t.Errorf("%s, %s: takes %d bytes, %v", format, name, st.Blocks*512, err)
			}
			err = transfer.Unpack(t.Context(), bytes.NewReader(packed.Bytes()), take(target, scratch, size-1))
			if !errors.Is(err, disk.ErrTooLarge) {
				t.Errorf("%s, %s: one byte more than allowed: %v", format, name, err)
			}
		}
	}
}

func tempFile(t *testing.T) *os.File {
	f, err := os.CreateTemp(t.TempDir(), "disk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A cut stream must stay an error: taken for the end, it would make a short
// image that looks whole.
func TestAheadKeepsTruncation(t *testing.T) {
	for _, n := range []int{0, 5, 1 << 20} {
		src := io.MultiReader(bytes.NewReader(noise(n)), iotest.ErrReader(io.ErrUnexpectedEOF))
		a := transfer.NewAhead(src)
		got, err := io.ReadAll(a)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != n {
			t.Errorf("after %d bytes: got %d and %v", n, len(got), err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAheadCloseEarly(t *testing.T) {
	a := transfer.NewAhead(strings.NewReader(strings.Repeat("x", 64<<20)))
	if _, err := a.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := io.Copy(io.Discard, a); err == nil {
			t.Error("reading after Close went to an orderly end")
		}
	}
}
