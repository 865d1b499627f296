package compress_test

import (
	"errors"
	"testing"

	"berth/transfer/compress"
)

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]compress.Format{
		"a.tar.gz": compress.Gzip, "a.tgz": compress.Gzip, "a.raw.xz": compress.XZ, "a.tar.bz2": compress.Bzip2,
		"a.zst": compress.Zstd, "a.lz4": compress.LZ4, "a.tar": compress.None, "xz": compress.None, "": compress.None,
	} {
		if got := compress.FormatOf(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for in, want := range map[string]compress.Format{
		"xz": compress.XZ, "XZ": compress.XZ, "Uncompressed": compress.None, "zstd": compress.Zstd,
		"bzip2": compress.Bzip2, "gzip": compress.Gzip, "lz4": compress.LZ4,
	} {
		if got, err := compress.ParseFormat(in); err != nil || got != want {
			t.Errorf("%q: got %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "zip", "xz "} {
		if _, err := compress.ParseFormat(in); !errors.Is(err, compress.ErrUnsupported) {
			t.Errorf("%q: got %v", in, err)
		}
	}
}
