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
// The snapshot of each subvolume is atomic, but not the set of them. Quota groups count them as they count what
// CreateSubvolume makes; kernels before 6.8 then have to count everything anew ("btrfs quota rescan").
func Snapshot(ctx context.Context, src *os.File, dst string, readOnly bool) error {
	if !IsSubvolume(src) {
		return fmt.Errorf("%s: %w", src.Name(), ErrNotSubvolume)
	}
	parent, name, err := openParent(dst)
	if err != nil {
		return err
	}
	defer parent.Close()
	snap := snapshot{readOnly: readOnly, groups: groupsOf(parent)}
	made, err := snap.tree(ctx, src, parent, name, maxNesting)
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

// snapshot is what all subvolumes of one set have in common.
type snapshot struct {
	readOnly bool
	groups   []uint64 // quota groups that they join
}

// tree also reports whether it made the top snapshot, so that a caller never deletes what was there before.
func (s snapshot) tree(ctx context.Context, src, parent *os.File, name string, levels int) (made bool, err error) {
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
	if err := s.one(src, parent, name, s.readOnly && len(nested) == 0); err != nil {
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
		if err := s.child(ctx, src, dst, c, levels-1); err != nil {
			return true, err
		}
	}
	if s.readOnly {
		return true, SetReadOnly(dst, true)
	}
	return true, nil
}

func (s snapshot) child(ctx context.Context, src, dst *os.File, c child, levels int) error {
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
	_, err = s.tree(ctx, srcChild, dstDir, c.name, levels)
	return err
}

func (s snapshot) one(src, parent *os.File, name string, readOnly bool) error {
	args := volArgsV2{fd: int64(src.Fd())}
	if readOnly {
		args.flags = flagReadOnly
	}
	args.join(s.groups)
	if err := putName(args.name[:], name); err != nil {
		return err
	}
	return ioctl(parent, snapCreateV2, unsafe.Pointer(&args))
}
