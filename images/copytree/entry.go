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
	if !sameMount(&c.mount, &st) {
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
	l := &level{in: in, name: name, src: src}
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
	if !sameMount(&c.mount, &l.stat) {
		return ErrMoved
	}
	if err := unix.Mkdirat(in.dst, l.name, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	dst, err := openAt(in.dst, l.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open new directory: %w", err)
	}
	var st unix.Statx_t
	if err := statAt(dst, "", &st); err != nil {
		return errors.Join(err, unix.Close(dst))
	}
	l.dst, l.dstID = dst, idOf(&st)
	return nil
}

// leaf copies what is not a directory.
func (c *copier) leaf(ctx context.Context, in *level, name string, st *unix.Statx_t) error {
	if st.Nlink > 1 {
		if first, ok := c.links[idOf(st)]; ok {
			return unix.Linkat(c.dstRoot, first, in.dst, name, 0)
		}
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = c.regular(ctx, in, name, st)
	case unix.S_IFLNK:
		err = symlink(in, name)
	default:
		err = unix.Mknodat(in.dst, name, uint32(st.Mode&unix.S_IFMT|0o600), int(unix.Mkdev(st.Rdev_major, st.Rdev_minor)))
	}
	if errors.Is(err, errVanished) {
		return nil
	}
	if err == nil {
		err = c.applyMetadata(in.src, in.dst, name, name, st)
	}
	if err == nil && st.Nlink > 1 {
		err = c.remember(in, name, st)
	}
	return err
}

// remember records where a file was copied to for the further names that it has.
func (c *copier) remember(in *level, name string, st *unix.Statx_t) error {
	first := in.path(name)
	if len(first) >= unix.PathMax {
		return fmt.Errorf("file with several names: %w", ErrTooDeep)
	}
	c.links[idOf(st)] = first
	return nil
}

// errVanished says that an entry went away between being listed and being opened.
var errVanished = errors.New("source is gone")

func (c *copier) regular(ctx context.Context, in *level, name string, st *unix.Statx_t) (err error) {
	src, err := openSource(in.src, name, 0)
	if errors.Is(err, unix.ENOENT) {
		return errVanished
	} else if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(src)) }()
	listed := idOf(st)
	if err := statAt(src, "", st); err != nil {
		return err
	}
	if !isRegular(st) || idOf(st) != listed {
		return ErrMoved
	}
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	dst, err := unix.Openat(in.dst, name, flags, 0o600)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(dst)) }()
	if c.flags {
		if err := keepNoCOW(src, dst); err != nil {
			return err
		}
	}
	if err := copyData(ctx, src, dst, int64(st.Size)); err != nil {
		return err
	}
	if c.progress != nil {
		c.progress.Add(int64(st.Size))
	}
	return nil
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

func symlink(in *level, name string) error {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(in.src, name, target)
	if errors.Is(err, unix.ENOENT) {
		return errVanished
	} else if err != nil {
		return fmt.Errorf("read link: %w", err)
	}
	return unix.Symlinkat(string(target[:n]), in.dst, name)
}
