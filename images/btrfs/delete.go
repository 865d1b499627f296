package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deleteTries bounds how often a deletion starts over because subvolumes appear in what it deletes.
const deleteTries = 4

// DeleteSubvolume deletes the subvolume name in parent with everything in it, nested subvolumes included, lifting
// read-only and immutable flags on the way. It fails with ErrNotSubvolume, and touches nothing, if name is something
// else (a symbolic link is ELOOP or ENOTDIR), and with EBUSY if it is a mount point.
func DeleteSubvolume(ctx context.Context, parent *os.File, name string) error {
	// Checked before anything is opened: "." would be parent itself, and lose what is nested in it.
	if err := checkName(name); err != nil {
		return err
	}
	if err := deleteTree(ctx, parent, name, maxNesting); err != nil {
		return fmt.Errorf("delete subvolume %s/%s: %w", parent.Name(), name, err)
	}
	return nil
}

func deleteTree(ctx context.Context, parent *os.File, name string, levels int) error {
	if levels == 0 {
		return ErrTooDeep
	}
	f, err := openSubvolume(parent, name)
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%w: %w", unix.EBUSY, err)
	} else if err != nil {
		return err
	}
	defer f.Close()
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := deleteChildren(ctx, f, levels-1); err != nil {
			return err
		}
		err := destroy(parent, f, name, levels < maxNesting)
		if !errors.Is(err, unix.ENOTEMPTY) || try == deleteTries {
			return err
		}
	}
}

func deleteChildren(ctx context.Context, f *os.File, levels int) error {
	nested, err := children(f)
	if err != nil || len(nested) == 0 {
		return err
	}
	if err := SetReadOnly(f, false); err != nil {
		return err
	}
	for _, c := range nested {
		if err := deleteChild(ctx, f, c, levels); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

func deleteChild(ctx context.Context, f *os.File, c child, levels int) error {
	dir, err := openBelow(f, c.dir)
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%w: %w", unix.EBUSY, err)
	} else if err != nil {
		return err
	}
	defer dir.Close()
	return deleteTree(ctx, dir, c.name, levels)
}

// destroy deletes the subvolume f, which is name in parent. EPERM may come from an immutable or append-only flag; it is
// lifted from f and, if parent is itself inside what is being deleted, from parent.
func destroy(parent, f *os.File, name string, nested bool) error {
	var args volArgs
	if err := putName(args.name[:], name); err != nil {
		return err
	}
	err := ioctl(parent, snapDestroy, unsafe.Pointer(&args))
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	if readOnlyErr := SetReadOnly(f, false); readOnlyErr != nil {
		return errors.Join(err, readOnlyErr)
	}
	protected := []*os.File{f}
	if nested {
		protected = append(protected, parent)
	}
	lifted, liftErr := liftProtection(protected...)
	if !lifted || liftErr != nil {
		return errors.Join(err, liftErr)
	}
	return ioctl(parent, snapDestroy, unsafe.Pointer(&args))
}

// liftProtection clears the flags of chattr(1) +i and +a. It reports whether any was set.
func liftProtection(files ...*os.File) (lifted bool, err error) {
	const immutable, appendOnly = 0x10, 0x20
	for _, f := range files {
		flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil {
			return lifted, fmt.Errorf("read inode flags of %s: %w", f.Name(), err)
		}
		if flags&(immutable|appendOnly) == 0 {
			continue
		}
		flags &^= immutable | appendOnly
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags)); err != nil {
			return lifted, fmt.Errorf("clear inode flags of %s: %w", f.Name(), err)
		}
		lifted = true
	}
	return lifted, nil
}
