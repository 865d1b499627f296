package tarball

import (
	"errors"

	"berth/transfer/tarball/pax"
)

// What callers test for. Errors of the system (no space, no permission) keep their errno in the chain.
var (
	// ErrUnsafePath means that an entry's name, or the target of a hard link, leads or might lead out of the
	// tree: absolute, with "..", through a symbolic link, or not in plain form.
	ErrUnsafePath = errors.New("unsafe path")
	// ErrTooDeep means that a name has more than MaxDepth components.
	ErrTooDeep = errors.New("path has too many components")
	// ErrUnsupported means that an entry is of a kind that cannot be unpacked.
	ErrUnsupported = errors.New("unsupported entry type")
	// ErrChanged means that a file became shorter while it was packed.
	ErrChanged = errors.New("file shrank while it was read")
	// ErrFormat means that the input is not a tar or cpio archive, or a damaged one.
	ErrFormat = pax.ErrFormat
	// ErrTruncated means that the archive stops before its end marker.
	ErrTruncated = pax.ErrTruncated
	// ErrLimit means that the archive exceeds a bound of Limits.
	ErrLimit = pax.ErrLimit
)
