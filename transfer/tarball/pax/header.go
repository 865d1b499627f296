package pax

import (
	"errors"
	"time"
)

// BlockSize is the unit of the format: headers take one block, payload is padded to whole ones.
const BlockSize = 512

// Errors of the reader. They are wrapped with the place in the archive.
var (
	// ErrFormat means that the bytes are not a tar archive, or a damaged one.
	ErrFormat = errors.New("malformed archive")
	// ErrTruncated means that the archive stops inside an entry or before its end marker.
	ErrTruncated = errors.New("archive is cut off")
	// ErrLimit means that the archive exceeds a bound of Limits.
	ErrLimit = errors.New("archive exceeds a limit")
)

// Type is the kind of an entry. The values are those of the type field.
type Type byte

// Kinds of entries that the reader returns. Any other value of the field is handed out as it is.
const (
	TypeRegular   Type = '0'
	TypeHardlink  Type = '1'
	TypeSymlink   Type = '2'
	TypeChar      Type = '3'
	TypeBlock     Type = '4'
	TypeDirectory Type = '5'
	TypeFIFO      Type = '6'
)

// TypeSocket is the kind of a socket. Archives of other formats may have some; no tar archive has, and the reader
// refuses the value.
const TypeSocket Type = 0o14

// Xattr is one extended attribute. Value may be empty.
type Xattr struct {
	Name  string
	Value []byte
}

// Fragment is a range of a sparse file that holds data, in bytes. What no fragment covers is a hole.
type Fragment struct {
	Offset, Length int64
}

// Header describes one entry. What the reader returns is valid until its next call of Next.
type Header struct {
	// Name is as stored. Directories may or may not end in a slash.
	Name string
	// Linkname is the text of a symbolic link or the earlier entry that a hard link refers to.
	Linkname string
	Type     Type
	// Mode holds the permission, setuid, setgid and sticky bits as in st_mode, without the file type.
	Mode uint32
	// UID and GID are as stored, not checked for the range of the system's types.
	UID, GID int64
	// Size is the length of a regular file in bytes, holes included, and 0 for everything else.
	Size    int64
	ModTime time.Time
	// Major and Minor number a device.
	Major, Minor int64
	Xattrs       []Xattr
	// AccessACL and DefaultACL are POSIX ACLs as text, "" where there is none.
	AccessACL, DefaultACL string
	// Flags are file flags as chattr knows them, by libarchive's names, separated by commas.
	Flags string
	// Sparse lists the data of a sparse file in order. Nil means that the file has no holes; a file that is
	// one hole has an empty slice.
	Sparse []Fragment
}

// Limits bounds what a reader takes from an archive. A zero field stands for its default.
type Limits struct {
	// Bytes is the size of the whole archive as it is read, headers and all that follows its end included.
	// Holes of sparse files do not count. Default 64 GiB.
	Bytes int64
	// Entries counts headers, those that only describe the next entry included. Default 10 million.
	Entries int64
	// Records is the size in bytes of the pax records or the long name of one entry. Default 1 MiB.
	Records int64
	// Xattrs counts the extended attributes of one entry. Default 1024.
	Xattrs int
	// Fragments counts the pieces of one sparse file. Default 1 million.
	Fragments int
}

// WithDefaults returns the limits with every zero field replaced.
func (l Limits) WithDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 64 << 30
	}
	if l.Entries == 0 {
		l.Entries = 10_000_000
	}
	if l.Records == 0 {
		l.Records = 1 << 20
	}
	if l.Xattrs == 0 {
		l.Xattrs = 1024
	}
	if l.Fragments == 0 {
		l.Fragments = 1_000_000
	}
	return l
}
