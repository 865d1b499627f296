package compress

import (
	"bytes"
	"fmt"
	"strings"
)

// Format is a compression format, spelled as on the command line of importctl.
type Format string

// The formats. LZ4 is recognised, but neither decoded nor encoded.
const (
	None  Format = "uncompressed"
	Gzip  Format = "gzip"
	Bzip2 Format = "bzip2"
	XZ    Format = "xz"
	Zstd  Format = "zstd"
	LZ4   Format = "lz4"
)

// MagicLen is how many bytes [Detect] needs.
const MagicLen = 6

var magics = []struct {
	format Format
	magic  string
}{
	{Gzip, "\x1f\x8b"},
	{XZ, xzMagic},
	{Zstd, "\x28\xb5\x2f\xfd"},
	{LZ4, "\x04\x22\x4d\x18"},
	{Bzip2, "BZh"},
}

// ParseFormat returns the format named s, in lower or upper case.
func ParseFormat(s string) (Format, error) {
	switch f := Format(strings.ToLower(s)); f {
	case None, Gzip, Bzip2, XZ, Zstd, LZ4:
		return f, nil
	default:
		return "", fmt.Errorf("compression format %q: %w", s, ErrUnsupported)
	}
}

// FormatOf returns the format that the suffix of a file name stands for, None
// for any other name.
func FormatOf(fileName string) Format {
	suffixes := []struct {
		suffix string
		format Format
	}{
		{".gz", Gzip},
		{".tgz", Gzip},
		{".bz2", Bzip2},
		{".tbz2", Bzip2},
		{".xz", XZ},
		{".txz", XZ},
		{".zst", Zstd},
		{".tzst", Zstd},
		{".lz4", LZ4},
	}
	for _, s := range suffixes {
		if strings.HasSuffix(fileName, s.suffix) {
			return s.format
		}
	}
	return None
}

// Detect recognises a format by the first [MagicLen] bytes of a stream. A
// shorter prefix is that of an uncompressed stream: no format fits in it. A
// stream that begins with a skippable frame is zstd, as pzstd writes it.
func Detect(prefix []byte) Format {
	if len(prefix) < MagicLen {
		return None
	}
	for _, m := range magics {
		if bytes.HasPrefix(prefix, []byte(m.magic)) {
			return m.format
		}
	}
	if prefix[0]&0xf0 == 0x50 && bytes.HasPrefix(prefix[1:], []byte("\x2a\x4d\x18")) {
		return Zstd
	}
	return None
}
