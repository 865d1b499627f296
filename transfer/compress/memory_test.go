package compress_test

import (
	"bytes"
	"errors"
	"testing"

	"berth/transfer/compress"
)

// Windows of 128 MiB are decoded, bigger ones refused before they are allocated.
func TestReaderLimitsWindow(t *testing.T) {
	data := payload(2 << 20)
	tests := []struct {
		name   string
		stream func(testing.TB, []byte) []byte
		ok     bool
	}{
		{"xz 128 MiB", by("xz", "-0", "--lzma2=preset=0,dict=128MiB", "-c"), true},
		{"xz 192 MiB", by("xz", "-0", "--lzma2=preset=0,dict=192MiB", "-c"), false},
		{"zstd 128 MiB", by("zstd", "-1", "--long=27", "-c"), true},
		{"zstd 256 MiB", by("zstd", "-1", "--long=28", "-c"), false},
	}
	for variant, tools := range variants {
		for _, test := range tests {
			t.Run(variant+"/"+test.name, func(t *testing.T) {
				got, _, err := decode(t, tools, bytes.NewReader(test.stream(t, data)))
				if test.ok && (err != nil || !bytes.Equal(got, data)) {
					t.Errorf("got %d bytes and error %v", len(got), err)
				}
				if !test.ok && !errors.Is(err, compress.ErrMemory) {
					t.Errorf("got error %v, want ErrMemory", err)
				}
			})
		}
	}
}
