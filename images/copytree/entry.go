package copytree

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// entry copies one entry of a directory. For a directory it only makes the new one and returns it, to be walked.
func (c *copier) entry(ctx context.Context, in *level, name string) (*level, error) {
	var st unix.Statx_t
	err := statAt(in.src, name, &st)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if idOf(&st) == c.self {
		return nil, nil
	}
	if c.merge == nil && !sameMount(&c.mount, &st) {
		return nil, c.mountPoint(in, name, &st)
	}
	if isDir(&st) {
		return c.directory(in, name)
	}
	return nil, c.leaf(ctx, in, name, &st)
}

// mountPoint keeps the place of a mount, so that the copy can be mounted in the same way. What it really looks like is
// hidden by what is mounted there.
func (c *copier) mountPoint(in *level, name string, st *unix.Statx_t) error {
	if !isDir(st) {
		return nil
	}
	return unix.Mkdirat(in.dst, name, 0o755)
}

func (c *copier) directory(in *level, name string) (*level, error) {
	src, err := openSource(in.src, name, unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	l := &level{in: in, name: in.to(name), src: src}
	if err := c.makeDirectory(in, l); err != nil {
		return nil, errors.Join(err, unix.Close(src))
	}
	if c.flags {
		err = keepNoCOW(l.src, l.dst)
	}
	if err == nil {
		l.entries, err = entries(l.src)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read: %w", err), l.close())
	}
	return l, nil
}

// makeDirectory fills in what is known of l from its open source, and makes and opens its copy.
func (c *copier) makeDirectory(in, l *level) error {
	if err := statAt(l.src, "", &l.stat); err != nil {
		return err
	}
	if c.merge == nil && !sameMount(&c.mount, &l.stat) {
		return ErrMoved
	}
	err := unix.Mkdirat(in.dst, l.name, 0o700)
	if errors.Is(err, unix.EEXIST) && c.merge != nil {
		l.kept, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	dst, err := openAt(in.dst, l.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open new directory: %w", err)
	}
	err = statAt(dst, "", &l.made)
	if err == nil && !l.kept {
		err = c.checkMade(in, dst, &l.made)
	}
	if err != nil {
		return errors.Join(err, unix.Close(dst))
	}
	l.dst = dst
	return nil
}

// checkMade makes sure that an inode found under a name is the one that was made there a moment ago: with the rights of
// this process it gets an owner and a mode, and a merge has a live machine for its destination. Whoever can mount
// there could put a file of another filesystem in its place.
func (c *copier) checkMade(in *level, fd int, made *unix.Statx_t) error {
	if c.merge == nil {
		return nil
	}
	if !sameMount(&in.made, made) {
		return ErrMoved
	}
	if made.Mode&unix.S_IFMT == unix.S_IFDIR || made.Mode&unix.S_IFMT == unix.S_IFREG {
		return dropInheritedACLs(fd)
	}
	return nil
}

// leaf copies what is not a directory.
func (c *copier) leaf(ctx context.Context, in *level, name string, st *unix.Statx_t) error {
	to := in.to(name)
	err := c.leafAs(ctx, in, name, to, st)
	if c.merge != nil && errors.Is(err, unix.EEXIST) {
		err = c.exists(ctx, in, name, to, st)
	}
	if errors.Is(err, errVanished) && in.as == "" {
		return nil
	}
	return err
}

func (c *copier) leafAs(ctx context.Context, in *level, name, to string, st *unix.Statx_t) error {
	if st.Nlink > 1 {
		if done, err := c.link(in, to, idOf(st)); done || err != nil {
			return err
		}
	}
	var fd int
	var err error
	if isRegular(st) {
		fd, err = c.regular(ctx, in, name, to, st)
	} else {
		fd, err = c.node(in, name, to, st)
	}
	if err != nil {
		return err
	}
	err = c.applyMetadata(procPath(in.src, name), fd, st)
	if err == nil && st.Nlink > 1 {
		err = c.remember(in, to, fd, st)
	}
	return errors.Join(err, unix.Close(fd))
}

// node makes what has no data, a symbolic link included, and opens it without effect (O_PATH).
func (c *copier) node(in *level, name, to string, st *unix.Statx_t) (int, error) {
	if c.merge != nil && c.merge.refuses(st) {
		return -1, fmt.Errorf("make device node of a stranger: %w", unix.EPERM)
	}
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		err = symlink(in, name, to)
	} else {
		err = unix.Mknodat(in.dst, to, uint32(st.Mode&unix.S_IFMT|0o600), int(unix.Mkdev(st.Rdev_major, st.Rdev_minor)))
	}
	if err != nil {
		return -1, err
	}
	fd, err := openAt(in.dst, to, unix.O_PATH)
	if err != nil {
		return -1, fmt.Errorf("open new entry: %w", err)
	}
	var made unix.Statx_t
	err = statAt(fd, "", &made)
	if err == nil && made.Mode&unix.S_IFMT != st.Mode&unix.S_IFMT {
		err = ErrMoved
	}
	if err == nil {
		err = c.checkMade(in, fd, &made)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// remember records where a file was copied to for the further names that it has.
func (c *copier) remember(in *level, to string, fd int, st *unix.Statx_t) error {
	first := in.path(to)
	if len(first) >= unix.PathMax {
		return fmt.Errorf("file with several names: %w", ErrTooDeep)
	}
	var made unix.Statx_t
	if err := statAt(fd, "", &made); err != nil {
		return err
	}
	c.links[idOf(st)] = linked{first, idOf(&made)}
	return nil
}

// link gives a file that was copied before its next name. It reports false if that was not so, or cannot be.
func (c *copier) link(in *level, to string, source id) (done bool, err error) {
	first, ok := c.links[source]
	if !ok {
		return false, nil
	}
	fd, err := unix.Openat2(c.dstRoot, first.path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return false, c.unlinked(fmt.Errorf("open first name: %w", err))
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var st unix.Statx_t
	if err := statAt(fd, "", &st); err != nil {
		return false, err
	}
	if idOf(&st) != first.id {
		return false, c.unlinked(ErrMoved)
	}
	err = unix.Linkat(unix.AT_FDCWD, fdPath(fd), in.dst, to, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, unix.EXDEV) {
		return false, c.unlinked(err)
	}
	return err == nil, err
}

// unlinked lets a merge copy once more what cannot be linked: others may have renamed the first copy, or mounted
// something in between.
func (c *copier) unlinked(err error) error {
	if c.merge != nil {
		return nil
	}
	return err
}

// errVanished says that an entry went away between being listed and being opened.
var errVanished = fmt.Errorf("source is gone: %w", unix.ENOENT)

// regular copies the data of a file into a new one, which it returns open.
func (c *copier) regular(ctx context.Context, in *level, name, to string, st *unix.Statx_t) (_ int, err error) {
	src, err := c.openRegular(in.src, name, st)
	if err != nil {
		return -1, err
	}
	defer func() { err = errors.Join(err, unix.Close(src)) }()
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	dst, err := unix.Openat(in.dst, to, flags, 0o600)
	if err != nil {
		return -1, fmt.Errorf("create: %w", err)
	}
	if err := c.fill(ctx, src, dst, st); err != nil {
		if c.merge != nil {
			err = errors.Join(err, unix.Unlinkat(in.dst, to, 0))
		}
		return -1, errors.Join(err, unix.Close(dst))
	}
	return dst, nil
}

func (c *copier) fill(ctx context.Context, src, dst int, st *unix.Statx_t) error {
	if c.flags {
		if err := keepNoCOW(src, dst); err != nil {
			return err
		}
	}
	if c.merge == nil {
		return copyData(ctx, src, dst, int64(st.Size), c.options)
	}
	if err := dropInheritedACLs(dst); err != nil {
		return err
	}
	if st.Size == 0 {
		// Nothing, or a file whose size is not known before it is read, as below /proc.
		return copyUnsized(ctx, src, dst)
	}
	return copyData(ctx, src, dst, int64(st.Size), c.options)
}

// openRegular opens a regular file and describes it. What has taken the place of the file that st told of is refused.
// In a live machine it is not even opened: that can have an effect, on a device.
func (c *copier) openRegular(dir int, name string, st *unix.Statx_t) (int, error) {
	listed := idOf(st)
	var fd int
	var err error
	if c.merge == nil {
		fd, err = openSource(dir, name, 0)
	} else {
		fd, err = openAt(dir, name, unix.O_PATH)
	}
	if errors.Is(err, unix.ENOENT) {
		return -1, errVanished
	} else if err != nil {
		return -1, fmt.Errorf("open: %w", err)
	}
	if err = statAt(fd, "", st); err == nil && (!isRegular(st) || idOf(st) != listed) {
		err = ErrMoved
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if c.merge == nil {
		return fd, nil
	}
	file, err := reopen(fd)
	return file, errors.Join(err, unix.Close(fd))
}

// reopen opens for reading what a descriptor without effect stands for.
func reopen(place int) (fd int, err error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	err = retry(func() (err error) {
		fd, err = unix.Open(fdPath(place), flags|unix.O_NOATIME, 0)
		return err
	})
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Open(fdPath(place), flags, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("open: %w", err)
	}
	return fd, nil
}

// openSource opens a file or directory for reading, without leaving a trace in its access time where that is allowed:
// only owner and root may ask for it.
func openSource(dir int, name string, flags int) (int, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_NOATIME|flags)
	if errors.Is(err, unix.EPERM) {
		return openAt(dir, name, unix.O_RDONLY|flags)
	}
	return fd, err
}

func keepNoCOW(src, dst int) error {
	flags, err := inodeFlags(src)
	if err != nil || flags&flagNoCOW == 0 {
		return err
	}
	return changeFlag(dst, flagNoCOW, true)
}

func symlink(in *level, name, to string) error {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(in.src, name, target)
	if errors.Is(err, unix.ENOENT) {
		return errVanished
	} else if err != nil {
		return fmt.Errorf("read link: %w", err)
	}
	return unix.Symlinkat(string(target[:n]), in.dst, to)
}
