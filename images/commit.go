package images

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
	"berth/images/copytree"
)

// CommitOptions say how a pending image gets its name.
type CommitOptions struct {
	// Replace takes the place of an image or file of that name; without it the
	// name must be free.
	Replace bool
	// ReadOnly marks the image in the way of its type: the subvolume's flag, the
	// immutable flag of a directory (where the file system has one), no write
	// bits on a file.
	ReadOnly bool
	// Sync brings the data to the disk before the name, and the name before
	// Commit returns.
	Sync bool
}

// Commit gives the image its name within its directory, such as "foo" or
// "foo.raw", by one rename. The error wraps [ErrExists] when the name is taken;
// after that and every other error before the rename the image is still pending.
//
// An error that wraps [ErrAuxiliary] means that the image has its name, but a
// step after that went wrong; what is left of a replaced image is swept later.
func (p *Pending) Commit(ctx context.Context, name string, o CommitOptions) error {
	if err := p.prepare(ctx, name, o); err != nil {
		return fmt.Errorf("commit pending image: %w", err)
	}
	old, err := p.rename(name, o.Replace)
	if err != nil {
		return fmt.Errorf("rename pending image to %s/%s: %w", p.root.Name(), name, err)
	}
	if err := p.settle(ctx, old, o); err != nil {
		return fmt.Errorf("finish image %s/%s: %w: %w", p.root.Name(), name, ErrAuxiliary, err)
	}
	return nil
}

func (p *Pending) prepare(ctx context.Context, name string, o CommitOptions) error {
	if p.done {
		return os.ErrClosed
	}
	if err := ValidName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.ReadOnly {
		if err := p.markReadOnly(); err != nil {
			return err
		}
	}
	if !o.Sync {
		return nil
	}
	if p.tree {
		if err := unix.Syncfs(int(p.file.Fd())); err != nil {
			return fmt.Errorf("sync file system: %w", err)
		}
		return nil
	}
	return p.file.Sync()
}

// markReadOnly sets those marks that do not stand in the way of a rename.
func (p *Pending) markReadOnly() error {
	if !p.tree {
		info, err := p.file.Stat()
		if err != nil {
			return err
		}
		return p.file.Chmod(info.Mode() &^ writeBits)
	}
	if btrfs.IsSubvolume(p.file) {
		return btrfs.SetReadOnly(p.file, true)
	}
	return nil
}

// rename returns the name of what was replaced, "" when there is nothing to delete.
func (p *Pending) rename(name string, replace bool) (old string, err error) {
	if !replace {
		return "", renameNew(p.root, p.name, name)
	}
	dir := int(p.root.Fd())
	err = unix.Renameat(dir, p.name, dir, name)
	if err == nil || !targetInTheWay(err) {
		return "", err
	}
	if err := liftImmutable(p.root, name); err != nil {
		return "", err
	}
	err = unix.Renameat2(dir, p.name, dir, name, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return replaceInTwo(p.root, p.name, name)
	}
	return p.name, err
}

func targetInTheWay(err error) bool {
	for _, e := range []error{unix.EEXIST, unix.ENOTDIR, unix.ENOTEMPTY, unix.EISDIR, unix.EBUSY, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// replaceInTwo replaces on file systems that cannot exchange two names. For a
// moment the name is free; both images are on disk all the time.
func replaceInTwo(root *os.File, from, name string) (old string, err error) {
	dir := int(root.Fd())
	old = tempName(tempRemove)
	if err := unix.Renameat(dir, name, dir, old); err != nil {
		return "", err
	}
	if err := unix.Renameat(dir, from, dir, name); err != nil {
		return "", errors.Join(err, unix.Renameat(dir, old, dir, name))
	}
	return old, nil
}

// renameNew renames within a directory to a name that must be free.
func renameNew(dir *os.File, from, to string) error {
	fd := int(dir.Fd())
	err := unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = renameChecked(fd, from, to)
	}
	if errors.Is(err, unix.EEXIST) {
		return ErrExists
	}
	return err
}

// renameChecked is for file systems that know no flags to rename. Between its
// two steps somebody who does not respect the name locks may take the name.
func renameChecked(dir int, from, to string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, to, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		return unix.EEXIST
	}
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	return unix.Renameat(dir, from, dir, to)
}

// settle does what comes after the rename. The image is in place, so every step
// is tried, whatever becomes of the others.
func (p *Pending) settle(ctx context.Context, old string, o CommitOptions) error {
	var errs []error
	if o.ReadOnly && p.tree && !btrfs.IsSubvolume(p.file) {
		if err := copytree.SetImmutable(p.file, true); err != nil && !unsupported(err) && !errors.Is(err, unix.EPERM) {
			errs = append(errs, fmt.Errorf("mark read-only: %w", err))
		}
	}
	if o.Sync {
		errs = append(errs, p.root.Sync())
	}
	if old != "" {
		errs = append(errs, RemoveEntry(ctx, p.trees, p.root, old))
	}
	return errors.Join(append(errs, p.close())...)
}
