package compress_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"berth/transfer/compress"
)

// The programs that a user would unpack with, by format.
var unpackers = map[compress.Format][]string{
	compress.None:  {"cat"},
	compress.Gzip:  {"gzip", "-dc"},
	compress.Bzip2: {"bzip2", "-dc"},
	compress.XZ:    {"xz", "-dc"},
	compress.Zstd:  {"zstd", "-dc"},
}

func TestWriterIsReadByPrograms(t *testing.T) {
	for variant, tools := range variants {
		for format, program := range unpackers {
			t.Run(variant+"/"+string(format), func(t *testing.T) {
				for _, size := range []int{0, 1, 2_500_000} {
					var out bytes.Buffer
					data := payload(size)
					err := encode(t.Context(), tools, &out, format, data)
					if format == compress.Bzip2 && len(tools.Dirs) == 0 {
						if !errors.Is(err, compress.ErrUnsupported) || !strings.Contains(err.Error(), "pbzip2") {
							t.Errorf("got %v, want ErrUnsupported that names programs", err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					stream := out.Bytes()
					if got := run(t, stream, program[0], program[1:]...); !bytes.Equal(got, data) {
						t.Errorf("%s made %d bytes of it, want %d", program[0], len(got), size)
					}
					got, _, err := decode(t, tools, bytes.NewReader(stream))
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("read back %d of %d bytes, error %v", len(got), size, err)
					}
				}
			})
		}
	}
}

func encode(ctx context.Context, tools compress.Tools, w io.Writer, f compress.Format, data []byte) (err error) {
	z, err := tools.NewWriter(ctx, w, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	_, err = z.Write(data)
	return err
}

func TestWriterReturnsErrorOfSink(t *testing.T) {
	data := payload(2 << 20)
	for variant, tools := range variants {
		for format := range unpackers {
			if format == compress.Bzip2 && len(tools.Dirs) == 0 {
				continue
			}
			t.Run(variant+"/"+string(format), func(t *testing.T) {
				err := encode(t.Context(), tools, failing{syscall.ENOSPC}, format, data)
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestWriterEndsWithContext(t *testing.T) {
	cause := errors.New("cancelled by hand")
	ctx, cancel := context.WithCancelCause(t.Context())
	z, err := compress.HostTools().NewWriter(ctx, io.Discard, compress.XZ)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(payload(10)); err != nil {
		t.Error(err)
	}
	cancel(cause)
	if err := z.Close(); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestWriterReportsHowChildEnded(t *testing.T) {
	tools := fakeXZ(t, "50040022", "head -c 10 >/dev/null; echo no more >&2; exit 7")
	err := encode(t.Context(), tools, io.Discard, compress.XZ, payload(8<<20))
	if err == nil || !strings.Contains(err.Error(), "no more (exit status 7)") {
		t.Errorf("got %v", err)
	}
}

func TestWriterRefusesLZ4(t *testing.T) {
	if _, err := compress.NewWriter(t.Context(), io.Discard, compress.LZ4); !errors.Is(err, compress.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
