package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"berth/transfer"

	"go.uber.org/goleak"
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
			var rest bytes.Buffer
			if _, err := a.WriteTo(&rest); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(rest.Bytes(), want[10:]) {
				t.Errorf("got %d other bytes", rest.Len())
			}
		})
	}
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
	if _, err := io.Copy(io.Discard, a); err == nil {
		t.Error("reading after Close went to an orderly end")
	}
}
