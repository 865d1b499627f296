package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Copy writes the whole disk image f, a file or a block device, to w and returns how much it was. Holes are not read.
// The offset of f follows the copy, so that it shows the progress.
func Copy(ctx context.Context, w io.Writer, f *os.File) (n int64, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("size of disk image: %w", err)
	}
	c := copier{w: w, f: f, buffer: make([]byte, min(size, chunkSize))}
	for n < size {
		begin, end, err := data(f, n, size)
		if err != nil {
			return n, err
		}
		// The search has moved the offset ahead.
		if _, err := f.Seek(n, io.SeekStart); err != nil {
			return n, fmt.Errorf("find data of disk image: %w", err)
		}
		if n, err = c.zeros(ctx, n, begin); err != nil {
			return n, err
		}
		if n, err = c.data(ctx, n, end); err != nil {
			return n, err
		}
	}
	return n, nil
}

type copier struct {
	w      io.Writer
	f      *os.File
	buffer []byte
}

func (c *copier) zeros(ctx context.Context, at, end int64) (int64, error) {
	if at == end {
		return at, nil
	}
	clear(c.buffer)
	for at < end {
		n, err := c.write(ctx, c.buffer[:min(end-at, int64(len(c.buffer)))])
		at += int64(n)
		if err != nil {
			return at, err
		}
		if _, err := c.f.Seek(at, io.SeekStart); err != nil {
			return at, fmt.Errorf("pass hole of disk image: %w", err)
		}
	}
	return at, nil
}

func (c *copier) data(ctx context.Context, at, end int64) (int64, error) {
	for at < end {
		got, err := io.ReadFull(c.f, c.buffer[:min(end-at, int64(len(c.buffer)))])
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return at, fmt.Errorf("read disk image at %d: %w", at, err)
		}
		n, err := c.write(ctx, c.buffer[:got])
		at += int64(n)
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

func (c *copier) write(ctx context.Context, p []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// data finds the first stretch of data at or after an offset; both ends are size if only a hole follows.
func data(f *os.File, at, size int64) (begin, end int64, err error) {
	begin, err = f.Seek(at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL):
		// A block device, or a filesystem that knows no holes.
		return at, size, nil
	case err != nil:
		return 0, 0, fmt.Errorf("find data of disk image: %w", err)
	}
	if end, err = f.Seek(begin, unix.SEEK_HOLE); err != nil {
		return 0, 0, fmt.Errorf("find hole of disk image: %w", err)
	}
	return min(begin, size), min(end, size), nil
}
