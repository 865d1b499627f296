package disk

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Options for ConvertQcow2.
type Options struct {
	// SizeMax, if above zero, is the most bytes that the disk may have; a larger one is ErrTooLarge.
	SizeMax int64
}

// ConvertQcow2 turns the qcow2 image src into the raw disk dst. Both are regular files open for reading and writing on
// one filesystem; what dst held before is lost, and src is used up and empty in the end, so that the filesystem never
// holds the data twice: clusters are shared between the two where it can, else each is given back once it was copied.
//
// All tables are checked first, and until they have passed both files are as they were. The error is then ErrCorrupt,
// ErrUnsupported, ErrBackingFile, ErrEncrypted or ErrTooLarge. On a later error both files hold parts.
//
// Taken is the disk as it is now: snapshots inside the image are left out. An image that was not closed cleanly (dirty
// bit) is taken, since that concerns only reference counts, which reading does not need; one that is marked corrupt is
// not. Space is given back in blocks of the filesystem: with clusters smaller than that, and out of order, more of src
// stays until the end.
func ConvertQcow2(ctx context.Context, src, dst *os.File, o Options) (err error) {
	q, err := openImage(src, o.SizeMax)
	if err != nil {
		return err
	}
	c, err := newChecker(q)
	if err != nil {
		return err
	}
	if err := q.walk(ctx, c); err != nil {
		return err
	}
	if err := errors.Join(dst.Truncate(0), dst.Truncate(q.size)); err != nil {
		return fmt.Errorf("set size of disk image: %w", err)
	}
	m := mover{image: q, dst: dst, holders: c.holders}
	defer m.unpacker.close()
	if err := q.walk(ctx, &m); err != nil {
		return err
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	if err := src.Truncate(0); err != nil {
		return fmt.Errorf("empty qcow2 image: %w", err)
	}
	return nil
}

// maxRun is how much is copied before it is given back.
const maxRun = 4 << 20

// mover is the second visitor of an image: it takes the disk out of it.
type mover struct {
	image    *image
	dst      *os.File
	holders  holders
	unpacker unpacker
	buffer   []byte
	cannot   struct{ share, punch bool } // learnt from the first try

	// Clusters that follow each other both in the file and on the disk are moved at once.
	at, offset, length int64
}

var _ visitor = (*mover)(nil)

func (m *mover) table(context.Context, int64) error { return nil }

func (m *mover) data(ctx context.Context, at, offset int64) error {
	if m.length > 0 && at == m.at+m.length && offset == m.offset+m.length && m.length < maxRun {
		m.length += m.image.cluster
		return nil
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	m.at, m.offset, m.length = at, offset, m.image.cluster
	return nil
}

// flush moves the clusters that were gathered.
func (m *mover) flush(ctx context.Context) error {
	at, offset, whole := m.at, m.offset, m.length
	m.length = 0
	if whole == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// The last cluster may be cut short on the disk and in the file.
	length := min(whole, m.image.size-at, m.image.fileSize-offset)
	shared, err := m.share(at, offset, length)
	if err != nil {
		return err
	}
	if shared < length {
		if err := m.copyRun(at+shared, offset+shared, length-shared); err != nil {
			return err
		}
		// Also what was shared goes, else the next call has half a block to keep.
		if err := m.punch(offset, whole); err != nil {
			return err
		}
	}
	return m.holders.drop(offset, whole, m.punch)
}

// share makes as much of a stretch as can be part of both files, and returns how much that is: whole blocks, or nothing
// on a filesystem that shares none.
func (m *mover) share(at, offset, length int64) (int64, error) {
	length -= length % blockSize
	if m.cannot.share || length == 0 || at%blockSize != 0 || offset%blockSize != 0 {
		return 0, nil
	}
	err := retry(func() error {
		return unix.IoctlFileCloneRange(int(m.dst.Fd()), &unix.FileCloneRange{
			Src_fd: int64(m.image.file.Fd()), Src_offset: uint64(offset), Src_length: uint64(length), Dest_offset: uint64(at),
		})
	})
	switch {
	case err == nil:
		return length, nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EIO):
		return 0, fmt.Errorf("share clusters: %w", err)
	}
	m.cannot.share = true
	return 0, nil
}

func (m *mover) copyRun(at, offset, length int64) error {
	if m.buffer == nil {
		m.buffer = make([]byte, chunkSize)
	}
	for length > 0 {
		part := m.buffer[:min(length, int64(len(m.buffer)))]
		if err := m.image.read(part, offset); err != nil {
			return fmt.Errorf("read qcow2 image: %w", err)
		}
		if err := writeBlocks(m.dst, part, at); err != nil {
			return fmt.Errorf("write disk image: %w", err)
		}
		n := int64(len(part))
		startWriteback(m.dst, at, n)
		at, offset, length = at+n, offset+n, length-n
	}
	return nil
}

func (m *mover) packed(ctx context.Context, at, offset, length int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cluster, err := m.unpacker.unpack(m.image, offset, length)
	if err != nil {
		return err
	}
	if err := writeBlocks(m.dst, cluster[:min(m.image.cluster, m.image.size-at)], at); err != nil {
		return fmt.Errorf("write disk image: %w", err)
	}
	return m.holders.drop(offset, min(length, m.image.fileSize-offset), m.punch)
}

// punch gives a stretch of the file back to the filesystem.
func (m *mover) punch(offset, length int64) error {
	if m.cannot.punch {
		return nil
	}
	err := retry(func() error {
		return unix.Fallocate(int(m.image.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		m.cannot.punch = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("give back clusters of qcow2 image: %w", err)
	}
	return nil
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
