package compress

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Flags of a gzip header, RFC 1952, section 2.3.1.
const (
	gzipHasSum     = 1 << 1
	gzipHasExtra   = 1 << 2
	gzipHasName    = 1 << 3
	gzipHasComment = 1 << 4
	gzipReserved   = 0xe0

	gzipHeaderLen = 10
	gzipDeflate   = 8
	// gzipTextMax bounds a name or a comment.
	gzipTextMax = 64 << 10
)

// gzipHeader passes over the header of a member, whose magic is there.
func gzipHeader(in *bufio.Reader) error {
	sum := crc32.NewIEEE()
	header := io.TeeReader(in, sum)
	var b [gzipHeaderLen]byte
	if _, err := io.ReadFull(header, b[:]); err != nil {
		return unexpected(err)
	}
	flags := b[3]
	if b[2] != gzipDeflate || flags&gzipReserved != 0 {
		return fmt.Errorf("%w: gzip method %d, flags %#x", ErrUnsupported, b[2], flags)
	}
	if flags&gzipHasExtra != 0 {
		if err := skipExtra(header); err != nil {
			return err
		}
	}
	for _, flag := range []byte{gzipHasName, gzipHasComment} {
		if flags&flag != 0 {
			if err := skipText(header); err != nil {
				return err
			}
		}
	}
	if flags&gzipHasSum == 0 {
		return nil
	}
	want := uint16(sum.Sum32())
	if _, err := io.ReadFull(in, b[:2]); err != nil {
		return unexpected(err)
	}
	if binary.LittleEndian.Uint16(b[:2]) != want {
		return fmt.Errorf("%w: checksum of a header", ErrCorrupt)
	}
	return nil
}

func skipExtra(header io.Reader) error {
	var length [2]byte
	if _, err := io.ReadFull(header, length[:]); err != nil {
		return unexpected(err)
	}
	n := int64(binary.LittleEndian.Uint16(length[:]))
	if _, err := io.CopyN(io.Discard, header, n); err != nil {
		return unexpected(err)
	}
	return nil
}

// skipText passes over a string that ends with a zero byte.
func skipText(header io.Reader) error {
	var b [1]byte
	for range gzipTextMax {
		if _, err := io.ReadFull(header, b[:]); err != nil {
			return unexpected(err)
		}
		if b[0] == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: a name without an end", ErrCorrupt)
}
