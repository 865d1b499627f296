package tarball

import (
	"errors"
	"fmt"
	"time"

	"berth/transfer/tarball/pax"

	"golang.org/x/sys/unix"
)

// file packs a regular file.
func (p *packer) file(dir int, name string, h *pax.Header, st *unix.Statx_t) (err error) {
	fd, err := openForReading(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return fmt.Errorf("stat open file: %w", err)
	}
	if now.Mode&unix.S_IFMT != unix.S_IFREG || now.Ino != st.Ino {
		return errVanished // something else has the name now
	}
	// Later than the first look, and the one that the content goes with.
	h.Size, h.ModTime = now.Size, time.Unix(now.Mtim.Unix())
	h.Mode, h.UID, h.GID = now.Mode&0o7777, int64(now.Uid), int64(now.Gid)
	if err := p.describe(h, dir, name, fd); err != nil {
		return err
	}
	if now.Blocks*512 < now.Size {
		if h.Sparse, err = dataMap(fd, now.Size); err != nil {
			return err
		}
	}
	if err := p.archive.WriteHeader(h); err != nil {
		return err
	}
	fragments := h.Sparse
	if fragments == nil {
		fragments = []pax.Fragment{{Length: h.Size}}
	}
	for _, f := range fragments {
		if err := p.copyRange(fd, f); err != nil {
			return err
		}
	}
	return p.noteGrowth(fd, h)
}

// openForReading opens without following links and without waiting for the other end of a FIFO, and leaves the time
// of access alone where it may.
func openForReading(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := openat(dir, name, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = openat(dir, name, flags, 0)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP):
		return -1, errVanished
	case err != nil:
		return -1, fmt.Errorf("open: %w", err)
	}
	return fd, nil
}

// dataMap lists where a file has data. Nil means that it has no holes, or that nobody knows.
func dataMap(fd int, size int64) ([]pax.Fragment, error) {
	fragments := []pax.Fragment{}
	for offset := int64(0); offset < size; {
		data, err := unix.Seek(fd, offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		var hole int64
		if err == nil {
			hole, err = unix.Seek(fd, data, unix.SEEK_HOLE)
		}
		if errors.Is(err, unix.EINVAL) {
			return nil, nil // the file system cannot tell
		}
		if err != nil {
			return nil, fmt.Errorf("look for holes: %w", err)
		}
		// Readers want whole blocks. File systems deal in larger ones, but for the end of the file.
		data &^= pax.BlockSize - 1
		if hole = min((hole+pax.BlockSize-1)&^(pax.BlockSize-1), size); data >= hole {
			break
		}
		fragments = append(fragments, pax.Fragment{Offset: data, Length: hole - data})
		offset = hole
	}
	if len(fragments) == 1 && fragments[0].Length == size {
		return nil, nil
	}
	return fragments, nil
}

// copyRange reads straight into the archive's buffer.
func (p *packer) copyRange(fd int, f pax.Fragment) error {
	for offset, end := f.Offset, f.Offset+f.Length; offset < end; {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		buf, err := p.archive.Space()
		if err != nil {
			return err
		}
		buf = buf[:min(int64(len(buf)), end-offset)]
		var n int
		err = retry(func() (err error) {
			n, err = unix.Pread(fd, buf, offset)
			return err
		})
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("%w: %d bytes at %d are gone", ErrChanged, end-offset, offset)
		}
		p.archive.Advance(n)
		offset += int64(n)
	}
	return nil
}

func (p *packer) noteGrowth(fd int, h *pax.Header) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat open file: %w", err)
	}
	if st.Size > h.Size {
		p.opts.Warn(h.Name, errGrew)
	}
	return nil
}
