package compress

import "errors"

var (
	// ErrUnsupported is returned for a format, or a feature of a format, that
	// cannot be decoded or encoded here. The text names what is missing.
	ErrUnsupported = errors.New("not supported")
	// ErrTrailingData is returned when something other than permitted padding
	// follows the end of the compressed data. xz(1) cannot tell it from damage:
	// where it decodes a file in one, it is ErrCorrupt instead.
	ErrTrailingData = errors.New("data after the end of the compressed stream")
	// ErrCorrupt is returned for compressed data that contradicts its format or
	// its checksums.
	ErrCorrupt = errors.New("compressed data is damaged")
	// ErrMemory is returned for streams that need more memory than a decoder may
	// take.
	ErrMemory = errors.New("decoding needs more memory than is allowed")
	// ErrClosed is returned by what was closed before.
	ErrClosed = errors.New("already closed")
)
