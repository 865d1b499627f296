package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Snapshot makes at path dst, which must not exist, a snapshot of the subvolume src with all subvolumes nested in it:
// the kernel's own snapshot leaves those out. With readOnly every one of the new subvolumes becomes read-only, otherwise
// every one is writable. Nested subvolumes that another mount hides are left out like anything below that mount.
// On an error, or when ctx ends, nothing stays at dst.
//
// The snapshot of each subvolume is atomic, but not the set of them.
func Snapshot(ctx context.Context, src *os.File, dst string, readOnly bool) error {
	if !IsSubvolume(src) {
		return fmt.Errorf("%s: %w", src.Name(), ErrNotSubvolume)
	}
	parent, name, err := openParent(dst)
	if err != nil {
		return err
	}
	defer parent.Close()
	made, err := snapshotTree(ctx, src, parent, name, readOnly, maxNesting)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("snapshot %s to %s: %w", src.Name(), dst, err)
	if made {
		// The clean-up must also happen when it is ctx that has ended.
		err = errors.Join(err, DeleteSubvolume(context.WithoutCancel(ctx), parent, name))
	}
	return err
}

// snapshotTree also reports whether it made the top snapshot, so that a caller never deletes what was there before.
func snapshotTree(ctx context.Context, src, parent *os.File, name string, readOnly bool, levels int) (made bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if levels == 0 {
		return false, ErrTooDeep
	}
	nested, err := children(src)
	if err != nil {
		return false, err
	}
	// One that receives children has to be writable until they are in.
	if err := snapshotOne(src, parent, name, readOnly && len(nested) == 0); err != nil {
		return false, err
	}
	if len(nested) == 0 {
		return true, nil
	}
	dst, err := openSubvolume(parent, name)
	if err != nil {
		return true, err
	}
	defer dst.Close()
	for _, c := range nested {
		if err := snapshotChild(ctx, src, dst, c, readOnly, levels-1); err != nil {
			return true, err
		}
	}
	if readOnly {
		return true, SetReadOnly(dst, true)
	}
	return true, nil
}

func snapshotChild(ctx context.Context, src, dst *os.File, c child, readOnly bool, levels int) error {
	srcChild, err := openSubvolume(src, c.dir+"/"+c.name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EXDEV) {
		return nil
	} else if err != nil {
		return err
	}
	defer srcChild.Close()
	dstDir, err := openBelow(dst, c.dir)
	if errors.Is(err, unix.ENOENT) {
		// Its directory appeared in the source after the source was snapshotted.
		return nil
	} else if err != nil {
		return err
	}
	defer dstDir.Close()
	// The snapshot shows an empty directory where the nested subvolume was.
	err = unix.Unlinkat(int(dstDir.Fd()), c.name, unix.AT_REMOVEDIR)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("clear place of nested subvolume %s/%s: %w", c.dir, c.name, err)
	}
	_, err = snapshotTree(ctx, srcChild, dstDir, c.name, readOnly, levels)
	return err
}

func snapshotOne(src, parent *os.File, name string, readOnly bool) error {
	args := volArgsV2{fd: int64(src.Fd())}
	if readOnly {
		args.flags = flagReadOnly
	}
	if err := putName(args.name[:], name); err != nil {
		return err
	}
	return ioctl(parent, snapCreateV2, unsafe.Pointer(&args))
}
