package copytree

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/btrfs"
)

// Remove deletes name in the directory parent with everything below it. It lifts immutable and append-only flags, gives
// itself access to directories that deny it, and deletes btrfs subvolumes. What is not there any more counts as removed.
//
// It never follows a symbolic link, and fails with EBUSY at a mount point, whose content it leaves alone. On an error, or
// when ctx ends, a part of the tree is left.
func Remove(ctx context.Context, parent *os.File, name string) error {
	// "." and ".." are refused by the kernel only after their content is gone.
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("remove %q: %w", name, unix.EINVAL)
	}
	r := remover{}
	if err := statAt(int(parent.Fd()), "", &r.mount); err != nil {
		return fmt.Errorf("remove %s/%s: %w", parent.Name(), name, err)
	}
	dir, err := openAt(int(parent.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open %s: %w", parent.Name(), err)
	}
	// The directory of the first level is the caller's and not part of what goes: it keeps its flags.
	r.stack = []removal{{id: idOf(&r.mount), names: []string{name}, keep: true}}
	err = r.run(ctx, dir)
	if err != nil {
		return fmt.Errorf("remove %s/%s: %w", parent.Name(), name, err)
	}
	return nil
}

// subvolumeInode is the inode number of every btrfs subvolume's top, which spares a closer look at other directories.
const subvolumeInode = 256

// removal is a directory whose entries are being removed.
type removal struct {
	name  string
	id    id
	names []string
	keep  bool
}

// remover walks a tree with one open directory. The way back up leads through "..", which is checked against the
// directory that was left, so that moving one out of the tree does not lead the walk astray.
type remover struct {
	mount unix.Statx_t
	stack []removal
	dir   int // the directory of the last level
}

func (r *remover) run(ctx context.Context, dir int) (err error) {
	r.dir = dir
	defer func() { err = errors.Join(err, unix.Close(r.dir)) }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		top := &r.stack[len(r.stack)-1]
		if len(top.names) == 0 && !top.keep {
			// What could be read at once is gone; there may be more.
			if err := r.refill(top); err != nil {
				return err
			}
		}
		if len(top.names) == 0 {
			if top.keep {
				return nil
			}
			if err := r.up(); err != nil {
				return err
			}
			continue
		}
		name := top.names[len(top.names)-1]
		top.names = top.names[:len(top.names)-1]
		if err := r.entry(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// entry removes one entry, or makes it the last level if it is a directory with something in it.
func (r *remover) entry(ctx context.Context, name string) error {
	err := r.unlink(name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	var st unix.Statx_t
	if statErr := statAt(r.dir, name, &st); errors.Is(statErr, unix.ENOENT) {
		return nil
	} else if statErr != nil {
		return errors.Join(err, statErr)
	}
	if !sameMount(&r.mount, &st) {
		return unix.EBUSY
	}
	if isDir(&st) {
		return r.down(ctx, name, &st)
	}
	if !isRegular(&st) || !errors.Is(err, unix.EPERM) {
		return err
	}
	if liftErr := r.unprotectEntry(name); liftErr != nil {
		return errors.Join(err, liftErr)
	}
	return r.unlink(name, 0)
}

// unlink removes an entry. If the directory forbids that by a flag or its mode, it is made to allow it.
func (r *remover) unlink(name string, flags int) error {
	err := unix.Unlinkat(r.dir, name, flags)
	if r.stack[len(r.stack)-1].keep {
		return err
	}
	switch {
	case errors.Is(err, unix.EPERM):
		if lifted, liftErr := unprotect(r.dir); !lifted || liftErr != nil {
			return err
		}
	case errors.Is(err, unix.EACCES):
		if unix.Fchmod(r.dir, 0o700) != nil {
			return err
		}
	default:
		return err
	}
	return unix.Unlinkat(r.dir, name, flags)
}

func (r *remover) unprotectEntry(name string) error {
	fd, err := openAt(r.dir, name, unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open to clear flags: %w", err)
	}
	_, err = unprotect(fd)
	return errors.Join(err, unix.Close(fd))
}

// down enters a directory. A subvolume is deleted as a whole if the kernel allows it.
func (r *remover) down(ctx context.Context, name string, listed *unix.Statx_t) error {
	fd, err := r.openDir(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	var st unix.Statx_t
	if err = statAt(fd, "", &st); err == nil && (idOf(&st) != idOf(listed) || !sameMount(&r.mount, &st)) {
		err = ErrMoved
	}
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	if st.Ino == subvolumeInode {
		if deleted, err := r.deleteSubvolume(ctx, fd, name); deleted || err != nil {
			return errors.Join(err, unix.Close(fd))
		}
	}
	r.stack = append(r.stack, removal{name: name, id: idOf(&st)})
	left := r.dir
	r.dir = fd
	return unix.Close(left)
}

func (r *remover) openDir(name string) (int, error) {
	fd, err := openAt(r.dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if !errors.Is(err, unix.EACCES) {
		return fd, err
	}
	// Needs a kernel with fchmodat2 (6.6), since following a link here could open up something else.
	if chmodErr := unix.Fchmodat(r.dir, name, 0o700, unix.AT_SYMLINK_NOFOLLOW); chmodErr != nil {
		return -1, errors.Join(err, chmodErr)
	}
	return openAt(r.dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// deleteSubvolume tries the short way for what may be a subvolume. If that is closed (it needs privileges), the caller
// empties the subvolume like a directory, for which it is made writable here.
func (r *remover) deleteSubvolume(ctx context.Context, fd int, name string) (deleted bool, err error) {
	subvolume, err := duplicate(fd, name)
	if err != nil {
		return false, err
	}
	defer subvolume.Close()
	if !btrfs.IsSubvolume(subvolume) {
		return false, nil
	}
	parent, err := duplicate(r.dir, "..")
	if err != nil {
		return false, err
	}
	defer parent.Close()
	err = btrfs.DeleteSubvolume(ctx, parent, name)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return false, btrfs.SetReadOnly(subvolume, false)
	}
	return err == nil, err
}

// refill reads the next names of the last level: as many as one call gives, so that memory stays bounded.
func (r *remover) refill(top *removal) error {
	if _, err := unix.Seek(r.dir, 0, unix.SEEK_SET); err != nil {
		return fmt.Errorf("rewind directory: %w", err)
	}
	buffer := make([]byte, 32<<10)
	for {
		var n int
		err := retry(func() (err error) {
			n, err = unix.ReadDirent(r.dir, buffer)
			return err
		})
		if err != nil {
			return fmt.Errorf("read directory: %w", err)
		}
		_, _, top.names = unix.ParseDirent(buffer[:n], -1, top.names)
		// A call may give nothing but "." and "..".
		if n == 0 || len(top.names) > 0 {
			return nil
		}
	}
}

// up removes the last level, which is empty.
func (r *remover) up() (err error) {
	last := len(r.stack) - 1
	name, done := r.stack[last].name, r.dir
	above, err := openParent(done, r.stack[last-1].id)
	if err != nil {
		return err
	}
	r.stack, r.dir = r.stack[:last], above
	defer func() { err = errors.Join(err, unix.Close(done)) }()
	err = r.unlink(name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.EPERM) {
		if _, liftErr := unprotect(done); liftErr != nil {
			return errors.Join(err, liftErr)
		}
		err = r.unlink(name, unix.AT_REMOVEDIR)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// duplicate makes a file of its own from a descriptor that stays with its owner.
func duplicate(fd int, name string) (*os.File, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor: %w", err)
	}
	return os.NewFile(uintptr(own), name), nil
}
