package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
	"berth/images/copytree"
	"berth/images/foreign"
)

// NewPendingCopy makes a pending copy in the image directory root of the tree or
// raw file at src: a snapshot of a subvolume on the same btrfs, else a copy that
// shares blocks where the file system can. The copy is writable and keeps owner,
// times and attributes, and src's creation time. A tree of the foreign range takes trees to copy.
func NewPendingCopy(ctx context.Context, root, src string, trees *foreign.User) (*Pending, error) {
	return pendingCopy(ctx, root, src, trees, CloneOptions{})
}

func pendingCopy(ctx context.Context, root, src string, trees *foreign.User, options CloneOptions) (*Pending, error) {
	from, err := os.OpenFile(src, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("copy image: %w", err)
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return nil, fmt.Errorf("copy image: %w", err)
	}
	others, err := foreign.Tree(from)
	switch {
	case err != nil:
		return nil, fmt.Errorf("copy image: %w", err)
	case others:
		return copyForeign(ctx, root, from, trees)
	case info.IsDir():
		return copyTree(ctx, root, from, options)
	case info.Mode().IsRegular():
		return copyRaw(ctx, root, from, options)
	}
	return nil, fmt.Errorf("copy image %s: %w", src, ErrNotSupported)
}

// NewPendingSnapshot makes a pending snapshot in the image directory root of the open
// subvolume src. The error wraps [ErrNotSupported] where there can be none, which is
// everywhere but on the same btrfs.
func NewPendingSnapshot(ctx context.Context, root string, src *os.File) (*Pending, error) {
	if !btrfs.IsSubvolume(src) {
		return nil, fmt.Errorf("make a snapshot of %s: %w", src.Name(), ErrNotSupported)
	}
	p, err := snapshot(ctx, root, src)
	if err != nil && notHere(err) {
		return nil, fmt.Errorf("make a snapshot of %s: %w: %w", src.Name(), ErrNotSupported, err)
	}
	return p, err
}

func copyTree(ctx context.Context, root string, src *os.File, options CloneOptions) (*Pending, error) {
	if btrfs.IsSubvolume(src) {
		p, err := snapshot(ctx, root, src)
		if err == nil || !notHere(err) {
			return p, err
		}
	}
	p, err := NewPendingTree(root)
	if err != nil {
		return nil, err
	}
	if err := copytree.Copy(ctx, src, p.file, options.counting(0)); err != nil {
		return nil, errors.Join(fmt.Errorf("copy image %s: %w", src.Name(), err), p.Discard())
	}
	return p, nil
}

// notHere are the kernel's ways to say that no snapshot of src can be made in
// this directory: other file system, other kind of file system, not allowed.
func notHere(err error) bool {
	return errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || unsupported(err)
}

func snapshot(ctx context.Context, root string, src *os.File) (*Pending, error) {
	return newPending(root, tempTree, nil, func(dir *os.File, path string) error {
		if !btrfs.IsBtrfs(dir) {
			return unix.EXDEV
		}
		return btrfs.Snapshot(ctx, src, path, false)
	})
}

func copyRaw(ctx context.Context, root string, src *os.File, options CloneOptions) (*Pending, error) {
	p, err := newPendingFile(root)
	if err != nil {
		return nil, err
	}
	if err := fillRaw(ctx, p.file, src, options); err != nil {
		return nil, errors.Join(fmt.Errorf("copy image %s: %w", src.Name(), err), p.Discard())
	}
	return p, nil
}

func fillRaw(ctx context.Context, dst, src *os.File, options CloneOptions) error {
	total := int64(0)
	if options.Progress != nil {
		var err error
		if total, err = copytree.DataSize(src); err != nil {
			return err
		}
	}
	if err := copytree.CopyFile(ctx, src, dst, options.counting(total)); err != nil {
		return err
	}
	return CopyFacts(dst, src)
}

// CopyFacts gives a disk what is known of another besides its content: its attributes
// of the user namespace, its times, and when it was created.
func CopyFacts(dst, src *os.File) error {
	if err := copyXattrs(dst, src); err != nil {
		return err
	}
	var st unix.Statx_t
	if err := unix.Statx(int(src.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return fmt.Errorf("read times of %s: %w", src.Name(), err)
	}
	if err := setCreated(int(dst.Fd()), earlier(birth(&st), createdOf(src))); err != nil {
		return err
	}
	return setTimes(dst, time.Unix(st.Atime.Sec, int64(st.Atime.Nsec)), time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)))
}

func setTimes(f *os.File, atime, mtime time.Time) error {
	tv := []unix.Timeval{unix.NsecToTimeval(atime.UnixNano()), unix.NsecToTimeval(mtime.UnixNano())}
	if err := unix.Futimes(int(f.Fd()), tv); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
