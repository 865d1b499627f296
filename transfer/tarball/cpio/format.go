package cpio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"berth/transfer/tarball/pax"
)

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

// MagicLen is how many bytes Detect needs.
const MagicLen = 6

// format is one of the forms of the header. See cpio(5) of libarchive, and POSIX.1-2001 pax for odc.
type format struct {
	magic string
	// length of the header without the name, in bytes.
	length int
	// align is what the name's end and the payload's end are padded to, in bytes.
	align int64
	// once says that the content of a file comes with one of its names only.
	once bool
	// sums says that headers have a checksum of the content.
	sums  bool
	parse func(b []byte, h *header) error
}

var formats = [...]format{
	{magic: "070701", length: 110, align: 4, once: true, parse: parseNewc},
	{magic: "070702", length: 110, align: 4, once: true, sums: true, parse: parseNewc},
	{magic: "070707", length: 76, align: 1, parse: parseODC},
	{magic: "\xc7\x71", length: 26, align: 2, parse: parseBinary(binary.LittleEndian)},
	{magic: "\x71\xc7", length: 26, align: 2, parse: parseBinary(binary.BigEndian)},
}

// Detect tells whether b begins as a cpio archive does. So may a tar archive whose first file has such a name.
func Detect(b []byte) bool { return detect(b) != nil }

func detect(b []byte) *format {
	for i := range formats {
		if bytes.HasPrefix(b, []byte(formats[i].magic)) {
			return &formats[i]
		}
	}
	return nil
}

// header is what all forms have, by the names of stat(2).
type header struct {
	inode        inode
	mode         uint32
	uid, gid     uint32
	nlink        uint32
	mtime        int64
	major, minor uint32
	size         int64
	nameSize     int64 // with the NUL at its end
	sum          uint32
}

// inode is what names of the same file have in common.
type inode struct{ dev, ino uint64 }

// parseNewc takes 13 numbers of 8 hexadecimal digits.
func parseNewc(b []byte, h *header) error {
	var n [13]uint32
	for i := range n {
		field := b[6+8*i:][:8]
		x, err := digits(field, 16)
		if err != nil {
			return err
		}
		n[i] = uint32(x)
	}
	*h = header{
		inode: inode{dev: uint64(n[7])<<32 | uint64(n[8]), ino: uint64(n[0])},
		mode:  n[1], uid: n[2], gid: n[3], nlink: n[4], mtime: int64(n[5]), size: int64(n[6]),
		major: n[9], minor: n[10], nameSize: int64(n[11]), sum: n[12],
	}
	return nil
}

// parseODC takes numbers of 6 octal digits, and of 11 for times and sizes.
func parseODC(b []byte, h *header) error {
	var n [10]int64
	rest := b[6:]
	for i, width := range [10]int{6, 6, 6, 6, 6, 6, 6, 11, 6, 11} {
		x, err := digits(rest[:width], 8)
		if err != nil {
			return err
		}
		n[i], rest = int64(x), rest[width:]
	}
	*h = header{
		inode: inode{dev: uint64(n[0]), ino: uint64(n[1])},
		mode:  uint32(n[2]), uid: uint32(n[3]), gid: uint32(n[4]), nlink: uint32(n[5]),
		mtime: n[7], nameSize: n[8], size: n[9],
	}
	h.major, h.minor = device(uint32(n[6]))
	return nil
}

// parseBinary takes words of 16 bits. Of the two words of a time or size the more significant comes first in either
// byte order.
func parseBinary(order binary.ByteOrder) func([]byte, *header) error {
	return func(b []byte, h *header) error {
		var n [13]uint32
		for i := range n {
			n[i] = uint32(order.Uint16(b[2*i:]))
		}
		*h = header{
			inode: inode{dev: uint64(n[1]), ino: uint64(n[2])},
			mode:  n[3], uid: n[4], gid: n[5], nlink: n[6],
			mtime: int64(n[8])<<16 | int64(n[9]), nameSize: int64(n[10]), size: int64(n[11])<<16 | int64(n[12]),
		}
		h.major, h.minor = device(n[7])
		return nil
	}
}

// device splits a device number of at most 18 bits as Linux does.
func device(n uint32) (major, minor uint32) { return n >> 8, n & 0xff }

// digits is a number that fills its field.
func digits(field []byte, base int) (uint64, error) {
	for _, c := range field {
		if c == '+' || c == '-' || c == '_' {
			return 0, fmt.Errorf("%w: number %q", pax.ErrFormat, field)
		}
	}
	x, err := strconv.ParseUint(string(field), base, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: number %q", pax.ErrFormat, field)
	}
	return x, nil
}

// Bits of the mode that tell the kind of a file, as in stat(2) of every system that writes cpio.
const (
	kindMask    = 0o170000
	kindSocket  = 0o140000
	kindSymlink = 0o120000
	kindRegular = 0o100000
	kindBlock   = 0o060000
	kindDir     = 0o040000
	kindChar    = 0o020000
	kindFIFO    = 0o010000
)

var types = map[uint32]pax.Type{
	kindSocket: pax.TypeSocket, kindSymlink: pax.TypeSymlink, kindRegular: pax.TypeRegular, kindBlock: pax.TypeBlock,
	kindDir: pax.TypeDirectory, kindChar: pax.TypeChar, kindFIFO: pax.TypeFIFO,
}

// entry is the header in the terms of package pax, without names and size.
func (h *header) entry() (pax.Header, error) {
	kind, ok := types[h.mode&kindMask]
	if !ok {
		return pax.Header{}, fmt.Errorf("%w: mode %#o", pax.ErrFormat, h.mode)
	}
	return pax.Header{
		Type: kind, Mode: h.mode & 0o7777, UID: int64(h.uid), GID: int64(h.gid), ModTime: time.Unix(h.mtime, 0),
		Major: int64(h.major), Minor: int64(h.minor),
	}, nil
}
