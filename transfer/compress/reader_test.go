package compress_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"berth/transfer/compress"
)

// decode reads a stream to its end with Read, and returns what it closed with.
func decode(t testing.TB, tools compress.Tools, r io.Reader) (_ []byte, _ compress.Format, err error) {
	t.Helper()
	d, err := tools.NewReader(t.Context(), r)
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if closeErr := d.Close(); closeErr != nil {
			t.Errorf("close: %v", closeErr)
		}
	}()
	out, err := io.ReadAll(d)
	return out, d.Format(), err
}

// decodeTo decodes with WriteTo.
func decodeTo(t testing.TB, tools compress.Tools, w io.Writer, r io.Reader) error {
	t.Helper()
	d, err := tools.NewReader(t.Context(), r)
	if err != nil {
		return err
	}
	_, err = d.WriteTo(w)
	return errors.Join(err, d.Close())
}

func TestReaderDecodesEverySample(t *testing.T) {
	for _, s := range samples {
		for variant, tools := range variantsOf(s.format) {
			t.Run(variant+"/"+s.name, func(t *testing.T) {
				for _, size := range []int{0, 1, 300_001} {
					data := payload(size)
					stream := s.stream(t, data)
					if len(stream) < compress.MagicLen {
						continue // uncompressed and tiny: its own test
					}
					checkDecode(t, tools, stream, data, s.format)
				}
			})
		}
	}
}

func checkDecode(t *testing.T, tools compress.Tools, stream, want []byte, format compress.Format) {
	t.Helper()
	got, f, err := decode(t, tools, bytes.NewReader(stream))
	if err != nil || f != format || !bytes.Equal(got, want) {
		t.Fatalf("read: got %d bytes of %d, format %s, error %v", len(got), len(want), f, err)
	}
	d, err := tools.NewReader(t.Context(), iotest.HalfReader(bytes.NewReader(stream)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if n, err := d.WriteTo(&out); err != nil || n != int64(len(want)) || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("write: got %d bytes of %d, error %v", n, len(want), err)
	}
	if n, err := d.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read after the end: %d, %v", n, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, compress.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

func TestReaderPassesShortInputThrough(t *testing.T) {
	for _, in := range []string{"", "x", "\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd!"} {
		got, f, err := decode(t, compress.HostTools(), strings.NewReader(in))
		if err != nil || f != compress.None || string(got) != in {
			t.Errorf("%q: got %q as %s, error %v", in, got, f, err)
		}
	}
}

func TestReaderRefusesLZ4(t *testing.T) {
	stream := run(t, payload(1000), "lz4", "-c")
	_, _, err := decode(t, compress.HostTools(), bytes.NewReader(stream))
	if !errors.Is(err, compress.ErrUnsupported) || !strings.Contains(err.Error(), "lz4") {
		t.Errorf("got %v, want ErrUnsupported naming lz4", err)
	}
}

// A stream that was cut anywhere is never taken for a whole one.
func TestReaderReportsTruncation(t *testing.T) {
	data := payload(900)
	cut := []string{"gzip", "gzip -1 with a name", "pigz", "bzip2", "xz", "xz crc32", "xz no check", "xz blocks", "zstd", "zstd no check", "pzstd"}
	for _, s := range samples {
		for variant, tools := range variantsOf(s.format) {
			for _, name := range cut {
				if s.name != name {
					continue
				}
				t.Run(variant+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					stream := s.stream(t, data)
					for n := compress.MagicLen; n < len(stream); n++ {
						if s.name == "pzstd" && n == 12 {
							continue // the skippable frame alone: whole, and empty
						}
						_, _, err := decode(t, tools, bytes.NewReader(stream[:n]))
						if !errors.Is(err, io.ErrUnexpectedEOF) {
							t.Errorf("cut at %d of %d: got error %v", n, len(stream), err)
						}
					}
				})
			}
		}
	}
}

// A later member, stream, block or frame that is cut counts too.
func TestReaderReportsTruncationOfLaterParts(t *testing.T) {
	a, b := payload(400), payload(900)[400:]
	for _, s := range []sample{
		{"gzip", compress.Gzip, by("gzip", "-c")},
		{"bzip2", compress.Bzip2, by("bzip2", "-c")},
		{"xz", compress.XZ, by("xz", "-c")},
		{"zstd", compress.Zstd, by("zstd", "-c")},
	} {
		for variant, tools := range variantsOf(s.format) {
			t.Run(variant+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				first, second := s.make(t, a), s.make(t, b)
				for n := 1; n < len(second); n++ {
					stream := append(bytes.Clone(first), second[:n]...)
					_, _, err := decode(t, tools, bytes.NewReader(stream))
					if !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("second cut at %d of %d: got error %v", n, len(second), err)
					}
				}
			})
		}
	}
}

func TestReaderRefusesTrailingData(t *testing.T) {
	for _, s := range []sample{
		{"gzip", compress.Gzip, by("gzip", "-c")},
		{"bzip2", compress.Bzip2, by("bzip2", "-c")},
		{"xz", compress.XZ, by("xz", "-c")},
		{"zstd", compress.Zstd, by("zstd", "-c")},
	} {
		for variant, tools := range variantsOf(s.format) {
			for name, tail := range map[string]string{
				"text": "this is not part of the stream", "after zeros": "\x00\x00\x00\x00something",
				"short": "no",
			} {
				t.Run(variant+"/"+s.name+"/"+name, func(t *testing.T) {
					stream := then(s.make, tail)(t, payload(5000))
					_, _, err := decode(t, tools, bytes.NewReader(stream))
					if !errors.Is(err, compress.ErrTrailingData) && !errors.Is(err, compress.ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("got error %v", err)
					}
				})
			}
		}
	}
}

// One flipped bit never gives other data, in every format that has a checksum.
func TestReaderReportsDamage(t *testing.T) {
	data := payload(20_000)
	for _, s := range samples {
		for variant, tools := range variantsOf(s.format) {
			if s.format == compress.None || strings.Contains(s.name, "no check") {
				continue
			}
			t.Run(variant+"/"+s.name, func(t *testing.T) {
				stream := s.stream(t, data)
				stream[len(stream)/2] ^= 0x10
				got, _, err := decode(t, tools, bytes.NewReader(stream))
				if err == nil && !bytes.Equal(got, data) {
					t.Error("damaged data, and no error")
				}
			})
		}
	}
}

// What the source says went wrong is what the caller hears, not that the decoder
// lacked data.
func TestReaderReturnsErrorOfSource(t *testing.T) {
	cause := fmt.Errorf("connection lost: %w", io.EOF) // what net/http may say; it is no orderly end
	data := payload(300_001)
	for _, s := range samples {
		for variant, tools := range variantsOf(s.format) {
			t.Run(variant+"/"+s.name, func(t *testing.T) {
				stream := s.stream(t, data)
				for _, n := range []int{compress.MagicLen, len(stream) / 2, len(stream)} {
					src := io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(cause))
					if _, _, err := decode(t, tools, src); !errors.Is(err, cause) {
						t.Errorf("read after %d of %d bytes: got %v", n, len(stream), err)
					}
					src = io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(cause))
					if err := decodeTo(t, tools, io.Discard, src); !errors.Is(err, cause) {
						t.Errorf("written after %d of %d bytes: got %v", n, len(stream), err)
					}
				}
			})
		}
	}
}

func TestReaderReturnsErrorOfSink(t *testing.T) {
	cause := errors.New("disk full")
	data := sparse()
	for _, s := range samples {
		for variant, tools := range variantsOf(s.format) {
			t.Run(variant+"/"+s.name, func(t *testing.T) {
				d, err := tools.NewReader(t.Context(), bytes.NewReader(s.stream(t, data)))
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				if _, err := d.WriteTo(failing{cause}); !errors.Is(err, cause) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestReaderClosesEarly(t *testing.T) {
	data := sparse()
	for _, s := range samples {
		for variant, tools := range variantsOf(s.format) {
			t.Run(variant+"/"+s.name, func(t *testing.T) {
				d, err := tools.NewReader(t.Context(), bytes.NewReader(s.stream(t, data)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(d, make([]byte, 10)); err != nil {
					t.Error(err)
				}
				if n, err := d.Read(nil); n != 0 || err != nil {
					t.Errorf("read of nothing: %d, %v", n, err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// The data does not compress, so that most bytes are its own and only checksums
// see what happens to them.
func TestReaderFindsEveryChangedByte(t *testing.T) {
	data := make([]byte, 300)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	for _, s := range []sample{
		{"gzip", compress.Gzip, by("gzip", "-c")},
		{"bzip2", compress.Bzip2, by("bzip2", "-c")},
		{"xz crc32", compress.XZ, by("xz", "-0", "-C", "crc32", "-c")},
		{"xz crc64", compress.XZ, by("xz", "-0", "-c")},
		{"xz sha256", compress.XZ, by("xz", "-0", "-C", "sha256", "-c")},
		{"zstd", compress.Zstd, by("zstd", "-c")},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			stream := s.make(t, data)
			for i := range stream {
				stream[i] ^= 0x20
				got, f, err := decode(t, compress.Tools{}, bytes.NewReader(stream))
				if err == nil && f == s.format && !bytes.Equal(got, data) {
					t.Errorf("byte %d of %d changed: other data and no error", i, len(stream))
				}
				stream[i] ^= 0x20
			}
		})
	}
}
