package disk

import (
	"context"
	"fmt"
	"io"
	"math"
)

// Write writes all of r to w, zeros too, and returns how much it was. A limit above zero is the most bytes that r may
// have: one more is ErrTooLarge, and none beyond the limit is written.
func Write(ctx context.Context, w io.Writer, r io.Reader, limit int64) (n int64, err error) {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	buffer := make([]byte, chunkSize)
	for end := false; !end; {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var got int
		if got, _, end, err = fill(plain{r}, buffer); err != nil {
			return n, err
		}
		if int64(got) > limit-n {
			return n, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		}
		if _, err := w.Write(buffer[:got]); err != nil {
			return n, fmt.Errorf("write disk image: %w", err)
		}
		n += int64(got)
	}
	return n, nil
}

// WriteZeros writes n zero bytes to w.
func WriteZeros(ctx context.Context, w io.Writer, n int64) error {
	zeros := make([]byte, min(n, chunkSize))
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		wrote, err := w.Write(zeros[:min(n, chunkSize)])
		if err != nil {
			return fmt.Errorf("fill up with zeros: %w", err)
		}
		n -= int64(wrote)
	}
	return nil
}
