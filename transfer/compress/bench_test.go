package compress_test

import (
	"bytes"
	"io"
	"testing"

	"berth/transfer/compress"
)

// benchmarkData is big enough that the start of a child does not count.
const benchmarkData = 32 << 20

func BenchmarkReader(b *testing.B) {
	data := payload(benchmarkData)
	for _, s := range []sample{
		{"gzip", compress.Gzip, by("gzip", "-1", "-c")},
		{"bzip2", compress.Bzip2, by("bzip2", "-c")},
		{"xz", compress.XZ, by("xz", "-1", "-c")},
		{"xz blocks of 4 MiB", compress.XZ, by("xz", "-1", "-T2", "--block-size=4194304", "-c")},
		{"zstd", compress.Zstd, by("zstd", "-c")},
	} {
		stream := s.make(b, data)
		for variant, tools := range variants {
			b.Run(s.name+"/"+variant, func(b *testing.B) {
				b.SetBytes(benchmarkData)
				for b.Loop() {
					d, err := tools.NewReader(b.Context(), bytes.NewReader(stream))
					if err != nil {
						b.Fatal(err)
					}
					if n, err := d.WriteTo(io.Discard); err != nil || n != benchmarkData {
						b.Fatal(n, err)
					}
					if err := d.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	data := payload(benchmarkData)
	for _, format := range []compress.Format{compress.Gzip, compress.Bzip2, compress.Zstd} {
		b.Run(string(format), func(b *testing.B) {
			b.SetBytes(benchmarkData)
			for b.Loop() {
				if err := encode(b.Context(), compress.HostTools(), io.Discard, format, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
