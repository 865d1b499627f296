package compress_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"berth/transfer/compress"
)

// withHeader puts a header with everything in it in place of that of a member.
func withHeader(member []byte, sum uint16) []byte {
	header := []byte{0x1f, 0x8b, 8, 1<<1 | 1<<2 | 1<<3 | 1<<4, 0, 0, 0, 0, 0, 255, 5, 0, 'e', 'x', 't', 'r', 'a'}
	header = append(header, "name\x00comment\x00"...)
	header = binary.LittleEndian.AppendUint16(header, uint16(crc32.ChecksumIEEE(header))+sum)
	return append(header, member[10:]...)
}

func TestReaderPassesOverGzipHeader(t *testing.T) {
	data := payload(1000)
	var out bytes.Buffer
	if err := encode(t.Context(), compress.Tools{}, &out, compress.Gzip, data); err != nil {
		t.Fatal(err)
	}
	stream := withHeader(out.Bytes(), 0)
	if z, err := gzip.NewReader(bytes.NewReader(stream)); err != nil || z.Comment != "comment" {
		t.Fatalf("the header is not what it should be: %v", err)
	}
	checkDecode(t, compress.Tools{}, stream, data, compress.Gzip)
	checkDecode(t, compress.Tools{}, append(out.Bytes(), stream...), append(data, data...), compress.Gzip)
	for n := compress.MagicLen; n < len(stream); n++ {
		if _, _, err := decode(t, compress.Tools{}, bytes.NewReader(stream[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	if _, _, err := decode(t, compress.Tools{}, bytes.NewReader(withHeader(out.Bytes(), 1))); !errors.Is(err, compress.ErrCorrupt) {
		t.Errorf("wrong checksum of the header: %v", err)
	}
	stream[2] = 7
	if _, _, err := decode(t, compress.Tools{}, bytes.NewReader(stream)); !errors.Is(err, compress.ErrUnsupported) {
		t.Errorf("unknown method: %v", err)
	}
	endless := append(out.Bytes()[:3:3], append([]byte{1 << 3, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte("x"), 1<<20)...)...)
	if _, _, err := decode(t, compress.Tools{}, bytes.NewReader(endless)); !errors.Is(err, compress.ErrCorrupt) {
		t.Errorf("a name without an end: %v", err)
	}
}
