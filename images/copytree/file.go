package copytree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// sliceSize is how much one call of copy_file_range may take on, so that a cancelled copy ends soon.
	sliceSize = 16 << 20
	// bufferSize is that of the plain copy where the kernel cannot copy between the two files itself.
	bufferSize = 1 << 20
)

// CopyFile makes the empty file dst hold the data of the regular file src, of which it reads all, from the start. The two share their
// blocks where the filesystem can do that, else data is copied and holes stay holes. For the sake of sharing dst takes on
// the no-copy-on-write flag of src. File offsets are not preserved; metadata is not copied. On an error dst holds a part.
func CopyFile(ctx context.Context, src, dst *os.File, options Options) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return fmt.Errorf("copy %s: %w", src.Name(), err)
	}
	// The size of anything else says nothing about its data.
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("copy %s, which is no regular file: %w", src.Name(), unix.EINVAL)
	}
	if err := copyData(ctx, int(src.Fd()), int(dst.Fd()), st.Size, options); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src.Name(), dst.Name(), err)
	}
	return nil
}

func copyData(ctx context.Context, src, dst int, size int64, options Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	// Whatever a clone fails of: if it also concerns a copy, that meets it again and reports it.
	if clone(src, dst) == nil {
		return nil
	}
	for at := int64(0); at < size; {
		begin, end, err := nextData(src, at, size)
		if err != nil {
			return err
		}
		if err := copyRange(ctx, src, dst, begin, end, options); err != nil {
			return err
		}
		at = end
	}
	return retry(func() error { return unix.Ftruncate(dst, size) })
}

// DataSize is how many bytes of a regular file [CopyFile] has to copy where nothing can be shared: all but holes. It
// moves the file's offset.
func DataSize(file *os.File) (bytes int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("read size of data: %w", err)
	}
	for at := int64(0); at < info.Size(); {
		begin, end, err := nextData(int(file.Fd()), at, info.Size())
		if err != nil {
			return 0, fmt.Errorf("read size of data of %s: %w", file.Name(), err)
		}
		bytes, at = bytes+end-begin, end
	}
	return bytes, nil
}

// copyUnsized copies a file that says to be empty up to where it ends.
func copyUnsized(ctx context.Context, src, dst int) error {
	buffer := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var n int
		err := retry(func() (err error) {
			n, err = unix.Read(src, buffer)
			return err
		})
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return nil
		}
		for rest := buffer[:n]; len(rest) > 0; {
			err := retry(func() (err error) {
				n, err = unix.Write(dst, rest)
				return err
			})
			if err != nil {
				return fmt.Errorf("write: %w", err)
			}
			rest = rest[n:]
		}
	}
}

// CloneFile has dst, which is empty, share all blocks of src. The file system of both must be able to; dst is as it was
// otherwise, but for copy-on-write, which may be as with src.
func CloneFile(src, dst *os.File) error {
	if err := clone(int(src.Fd()), int(dst.Fd())); err != nil {
		return fmt.Errorf("have %s share the blocks of %s: %w", dst.Name(), src.Name(), err)
	}
	return nil
}

func clone(src, dst int) error {
	err := retry(func() error { return unix.IoctlFileClone(dst, src) })
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	// btrfs shares blocks only between files that agree on copy-on-write, and so on checksums.
	flags, flagErr := inodeFlags(src)
	if flagErr != nil {
		return err
	}
	if flagErr := changeFlag(dst, flagNoCOW, flags&flagNoCOW != 0); flagErr != nil {
		return err
	}
	return retry(func() error { return unix.IoctlFileClone(dst, src) })
}

// nextData finds the first stretch of data at or after an offset. At the end of the data begin and end are size.
func nextData(fd int, at, size int64) (begin, end int64, err error) {
	begin, err = unix.Seek(fd, at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	} else if errors.Is(err, unix.EINVAL) {
		// A filesystem that knows no holes.
		return at, size, nil
	} else if err != nil {
		return 0, 0, fmt.Errorf("find data: %w", err)
	}
	end, err = unix.Seek(fd, begin, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, fmt.Errorf("find hole: %w", err)
	}
	// A file that grows meanwhile is copied up to the size that it had.
	return min(begin, size), min(end, size), nil
}

func copyRange(ctx context.Context, src, dst int, at, end int64, options Options) error {
	for at < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		from, to := at, at
		var n int
		err := retry(func() (err error) {
			n, err = unix.CopyFileRange(src, &from, dst, &to, int(min(end-at, sliceSize)), 0)
			return err
		})
		switch {
		// Between filesystems of different kinds, from procfs and the like: the plain way.
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP),
			errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), err == nil && n == 0:
			return copyPlain(ctx, src, dst, at, end, options)
		case err != nil:
			return fmt.Errorf("copy data at %d: %w", at, err)
		}
		at += int64(n)
		options.copied(int64(n))
	}
	return nil
}

func copyPlain(ctx context.Context, src, dst int, at, end int64, options Options) error {
	buffer := make([]byte, min(end-at, bufferSize))
	for at < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pread(src, buffer[:min(end-at, int64(len(buffer)))], at)
			return err
		})
		if err != nil {
			return fmt.Errorf("read at %d: %w", at, err)
		}
		if n == 0 {
			return fmt.Errorf("read at %d: file shrank: %w", at, io.ErrUnexpectedEOF)
		}
		for rest := buffer[:n]; len(rest) > 0; {
			var written int
			err := retry(func() (err error) {
				written, err = unix.Pwrite(dst, rest, at)
				return err
			})
			if err != nil {
				return fmt.Errorf("write at %d: %w", at, err)
			}
			rest, at = rest[written:], at+int64(written)
		}
		options.copied(int64(n))
	}
	return nil
}
