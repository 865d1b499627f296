package compress_test

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"testing"

	"berth/transfer/compress"
)

// FuzzNewReader looks for input that crashes a decoder in this process, and for
// xz files on which the two decoders differ.
func FuzzNewReader(f *testing.F) {
	for _, format := range []compress.Format{compress.Gzip, compress.XZ, compress.Zstd} {
		var out bytes.Buffer
		if err := encode(f.Context(), compress.Tools{}, &out, format, payload(300)); err != nil {
			f.Fatal(err)
		}
		f.Add(out.Bytes())
		f.Add(append(out.Bytes(), 0, 0, 0, 0))
		f.Add(append(out.Bytes(), out.Bytes()...))
	}
	f.Add([]byte("BZh91AY&SY\x19\x31\x65\x3d\x00\x00\x00\x81\x00\x02\x44\xa0\x00\x21\x9a\x68\x33\x4d\x07\x33\x8b\xb9\x22\x9c\x28\x48\x0c\x98\xb2\x9e\x80"))
	f.Add([]byte(skippableFrame))
	f.Add(by("xz", "-0", "-T2", "-c")(f, payload(300)))
	f.Add(by("xz", "-0", "-T2", "--block-size=100", "-c")(f, payload(300)))
	f.Add(parts(by("xz", "-0", "-T2", "-c"), 0, 0, 0, 0)(f, payload(300)))
	host := compress.HostTools()
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, format, err := decodeSome(t, compress.Tools{}, in, most)
		if format != compress.XZ || errors.Is(err, compress.ErrUnsupported) || errors.Is(err, compress.ErrMemory) {
			return
		}
		theirs, _, theirErr := decodeSome(t, host, in, most)
		if (err == nil) != (theirErr == nil) {
			t.Errorf("in Go: %v; xz(1): %v", err, theirErr)
		}
		if err == nil && !bytes.Equal(ours, theirs) {
			t.Errorf("in Go %d bytes, xz(1) %d other ones", len(ours), len(theirs))
		}
	})
}

func decodeSome(t *testing.T, tools compress.Tools, in []byte, most int64) (out []byte, format compress.Format, err error) {
	d, err := tools.NewReader(t.Context(), bytes.NewReader(in))
	if err != nil {
		return nil, compress.Detect(in), err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	out, err = io.ReadAll(io.LimitReader(d, most))
	return out, d.Format(), err
}

// FuzzBzip2 looks for files on which decoding in parallel and the decoder of the
// standard library differ.
func FuzzBzip2(f *testing.F) {
	const one = "BZh91AY&SY\x19\x31\x65\x3d\x00\x00\x00\x81\x00\x02\x44\xa0\x00\x21\x9a\x68\x33\x4d\x07\x33\x8b\xb9\x22\x9c\x28\x48\x0c\x98\xb2\x9e\x80"
	const empty = "BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"
	for _, seed := range []string{one, empty, one + one, empty + one, one + empty, one[:len(one)-1], one + "BZh1"} {
		f.Add([]byte(seed))
	}
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, in []byte) {
		if compress.Detect(in) != compress.Bzip2 {
			return
		}
		theirs, theirErr := io.ReadAll(io.LimitReader(bzip2.NewReader(bytes.NewReader(in)), most))
		if len(theirs) == most {
			return // damage behind that would be seen by one of them only
		}
		ours, _, err := decodeSome(t, compress.Tools{}, in, most)
		if (err == nil) != (theirErr == nil) {
			t.Errorf("in parallel: %v; one after the other: %v", err, theirErr)
		}
		if err == nil && !bytes.Equal(ours, theirs) {
			t.Errorf("in parallel %d bytes, one after the other %d", len(ours), len(theirs))
		}
	})
}
