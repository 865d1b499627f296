package pax

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// A block is one header. The layout of the first 257 bytes is that of V7; what follows depends on the magic.
type block [BlockSize]byte

func (b *block) name() []byte     { return b[0:100] }
func (b *block) mode() []byte     { return b[100:108] }
func (b *block) uid() []byte      { return b[108:116] }
func (b *block) gid() []byte      { return b[116:124] }
func (b *block) size() []byte     { return b[124:136] }
func (b *block) mtime() []byte    { return b[136:148] }
func (b *block) checksum() []byte { return b[148:156] }
func (b *block) typeflag() *byte  { return &b[156] }
func (b *block) linkname() []byte { return b[157:257] }
func (b *block) magic() []byte    { return b[257:265] }
func (b *block) major() []byte    { return b[329:337] }
func (b *block) minor() []byte    { return b[337:345] }
func (b *block) prefix() []byte   { return b[345:500] }

const (
	magicUSTAR = "ustar\x00"
	magicGNU   = "ustar  \x00"
)

func (b *block) isGNU() bool   { return string(b.magic()) == magicGNU }
func (b *block) isUSTAR() bool { return bytes.HasPrefix(b.magic(), []byte(magicUSTAR)) }

// isStar reports star's own dialect, which keeps two times at the end of the prefix.
func (b *block) isStar() bool { return b.isUSTAR() && string(b[508:512]) == "tar\x00" }

func (b *block) isZero() bool { return *b == block{} }

// sum is the checksum as POSIX wants it and as some old writers made it, with signed bytes. The field itself
// counts as spaces.
func (b *block) sum() (unsigned, signed int64) {
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return unsigned, signed
}

// sound reports whether the checksum is right.
func (b *block) sound() bool {
	stored, err := octal(b.checksum())
	unsigned, signed := b.sum()
	return err == nil && (stored == unsigned || stored == signed)
}

// IsHeader tells whether b begins with a header of a tar archive.
func IsHeader(b []byte) bool {
	if len(b) < BlockSize {
		return false
	}
	first := block(b[:BlockSize])
	return first.sound()
}

// header takes the fields that need no look at other blocks.
func (b *block) header(h *Header) error {
	if !b.sound() {
		return fmt.Errorf("%w: bad header checksum", ErrFormat)
	}
	h.Type = Type(*b.typeflag())
	h.Name = text(b.name())
	h.Linkname = text(b.linkname())
	var mode, mtime int64
	var err error
	fields := []struct {
		name  string
		field []byte
		to    *int64
	}{
		{"mode", b.mode(), &mode},
		{"uid", b.uid(), &h.UID},
		{"gid", b.gid(), &h.GID},
		{"size", b.size(), &h.Size},
		{"mtime", b.mtime(), &mtime},
		{"device major", b.major(), &h.Major},
		{"device minor", b.minor(), &h.Minor},
	}
	if !b.isUSTAR() && !b.isGNU() {
		fields = fields[:5]
	}
	for _, f := range fields {
		if *f.to, err = number(f.field); err != nil {
			return fmt.Errorf("%w: %s %q", ErrFormat, f.name, f.field)
		}
	}
	h.Mode = uint32(mode & 0o7777)
	h.ModTime = time.Unix(mtime, 0)
	if b.isUSTAR() {
		prefix := b.prefix()
		if b.isStar() {
			prefix = prefix[:131]
		}
		if p := text(prefix); p != "" {
			h.Name = p + "/" + h.Name
		}
	}
	return nil
}

// text is a string field, which ends at its first NUL or fills the field.
func text(field []byte) string {
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i]
	}
	return string(field)
}

// number is a numeric field: octal digits, or GNU's base 256 with the top bit set.
func number(field []byte) (int64, error) {
	if field[0]&0x80 == 0 {
		return octal(field)
	}
	// Two's complement over the whole field but for the marker bit.
	var flip byte
	if field[0]&0x40 != 0 {
		flip = 0xff
	}
	var x uint64
	for i, c := range field {
		c ^= flip
		if i == 0 {
			c &= 0x7f
		}
		if x>>55 != 0 {
			return 0, strconv.ErrRange
		}
		x = x<<8 | uint64(c)
	}
	if flip != 0 {
		return ^int64(x), nil
	}
	return int64(x), nil
}

func octal(field []byte) (int64, error) {
	field = bytes.Trim(field, " \x00")
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i]
	}
	var x int64
	for _, c := range field {
		if c < '0' || c > '7' {
			return 0, strconv.ErrSyntax
		}
		if x >= 1<<60 {
			return 0, strconv.ErrRange
		}
		x = x<<3 | int64(c-'0')
	}
	return x, nil
}
