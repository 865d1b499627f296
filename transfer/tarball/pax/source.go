package pax

import (
	"fmt"
	"io"
)

// take returns the next n bytes, which must be few. The slice is valid until the next read.
func (r *Reader) take(n int) ([]byte, error) {
	for r.end-r.pos < n {
		if r.pos+n > len(r.buf) {
			r.end = copy(r.buf, r.buf[r.pos:r.end])
			r.pos = 0
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	b := r.buf[r.pos : r.pos+n]
	r.pos += n
	return b, r.consume(int64(n))
}

// fill reads once from the source into the free end of the buffer. The end of the source is ErrTruncated here:
// whoever may stop there does not ask for more.
func (r *Reader) fill() error {
	for range 100 {
		if r.srcErr != nil {
			break
		}
		if r.pos == r.end {
			r.pos, r.end = 0, 0
		}
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		r.srcErr = err
		if n > 0 {
			return nil
		}
	}
	switch {
	case r.srcErr == nil:
		return fmt.Errorf("read archive: %w", io.ErrNoProgress)
	case r.atEOF():
		return fmt.Errorf("%w after %d bytes", ErrTruncated, r.consumed)
	default:
		return fmt.Errorf("read archive: %w", r.srcErr)
	}
}

// atEOF compares without unwrapping: an error that has io.EOF as its cause is not the end of the source.
func (r *Reader) atEOF() bool {
	return r.srcErr == io.EOF //nolint:errorlint // see above
}

func (r *Reader) consume(n int64) error {
	if r.consumed += n; r.consumed > r.limits.Bytes {
		return r.tooLong()
	}
	return nil
}

func (r *Reader) tooLong() error {
	return fmt.Errorf("%w: more than %d bytes", ErrLimit, r.limits.Bytes)
}
