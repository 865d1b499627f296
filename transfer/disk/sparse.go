package disk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// blockSize is the unit of holes: that of nearly all filesystems.
	blockSize = 4096
	// chunkSize is how much is read, and written at most, at once.
	chunkSize = 1 << 20
)

// maxIdle is how many reads in a row may give nothing.
const maxIdle = 100

var zeroBlock [blockSize]byte

// WriteSparse writes all of r to f from its start and returns how much it was. Aligned blocks of zeros become holes, and
// f ends up exactly as long as r was; what f held before is lost. A limit above zero is the most bytes that r may have:
// one more is ErrTooLarge. The disk begins to write while r is read. Zeros that r tells of as a SparseReader are
// never made.
func WriteSparse(ctx context.Context, f *os.File, r io.Reader, limit int64) (n int64, err error) {
	return writeSparse(ctx, f, r, limit, startWriteback)
}

// Hold is WriteSparse for what is gone again soon: the disk may never see it.
func Hold(ctx context.Context, f *os.File, r io.Reader, limit int64) (n int64, err error) {
	return writeSparse(ctx, f, r, limit, func(*os.File, int64, int64) {})
}

// writeSparse calls written with every stretch that is done.
func writeSparse(
	ctx context.Context, f *os.File, r io.Reader, limit int64, written func(f *os.File, at, length int64),
) (n int64, err error) {
	if err := f.Truncate(0); err != nil {
		return 0, fmt.Errorf("empty disk image: %w", err)
	}
	if limit <= 0 {
		limit = math.MaxInt64
	}
	source := Sparse(r)
	buffer := make([]byte, chunkSize)
	for end := false; !end; {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var got int
		var zeros int64
		if got, zeros, end, err = fill(source, buffer); err != nil {
			return n, err
		}
		if int64(got) > limit-n || zeros > limit-n-int64(got) {
			return n, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		}
		if err := writeBlocks(f, buffer[:got], n); err != nil {
			return n, fmt.Errorf("write disk image: %w", err)
		}
		if got > 0 {
			written(f, n, int64(got))
		}
		n += int64(got) + zeros
	}
	if err := f.Truncate(n); err != nil {
		return n, fmt.Errorf("set size of disk image: %w", err)
	}
	return n, nil
}

// fill reads until p is full, zeros follow, or r has ended. It is not io.ReadFull, whose error for a short end is the very
// one that a decoder gives for input cut short.
func fill(r SparseReader, p []byte) (n int, zeros int64, end bool, err error) {
	for idle := 0; n < len(p); idle++ {
		got, zeros, err := r.ReadSparse(p[n:])
		n += got
		switch {
		case err == io.EOF: //nolint:errorlint // what net/http wraps is a lost connection
			return n, zeros, true, nil
		case err != nil:
			return n, 0, false, err
		case zeros > 0:
			return n, zeros, false, nil
		case got > 0:
			idle = 0
		case idle == maxIdle:
			return n, 0, false, io.ErrNoProgress
		}
	}
	return n, 0, false, nil
}

// writeBlocks writes data at an offset but for the blocks that are zero, which f must have as holes.
func writeBlocks(f *os.File, data []byte, at int64) error {
	for len(data) > 0 {
		skip := run(data, at, true)
		data, at = data[skip:], at+int64(skip)
		take := run(data, at, false)
		if take == 0 {
			continue
		}
		if _, err := f.WriteAt(data[:take], at); err != nil {
			return err
		}
		data, at = data[take:], at+int64(take)
	}
	return nil
}

// startWriteback has the kernel begin to write a stretch to the disk, so that the sync in the end finds little left to
// do. Whether it does is of no matter before that sync.
func startWriteback(f *os.File, at, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, length, unix.SYNC_FILE_RANGE_WRITE)
}

// run returns how long the blocks at the start of data are zero, or are not.
func run(data []byte, at int64, zero bool) (n int) {
	for n < len(data) {
		size := min(len(data)-n, blockSize-int((at+int64(n))%blockSize))
		if bytes.Equal(data[n:n+size], zeroBlock[:size]) != zero {
			break
		}
		n += size
	}
	return n
}
