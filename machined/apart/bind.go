package apart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"berth/machined/nsenter"
)

// ErrNoRoot says that there is nobody in the machine whom a new mount point could
// belong to.
var ErrNoRoot = errors.New("machine has no root")

// BindRequest says what of the host to mount where. Paths are absolute and
// normalized.
type BindRequest struct {
	Source, Destination string
	ReadOnly            bool
	// Mkdir makes the mount point, and directories above it, where missing.
	Mkdir bool
	// Owner is whom they belong to, nil if there is nobody: [ErrNoRoot].
	Owner *uint32
}

func (r BindRequest) do(ctx context.Context, t nsenter.Target) (err error) {
	foreign, err := t.Foreign()
	if err != nil {
		return err
	}
	if foreign&nsenter.Mount == 0 {
		return fmt.Errorf("machine shares the mounts of the host: %w", unix.EINVAL)
	}
	tree, err := nsenter.DetachedMount(ctx, r.Source, r.ReadOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	point, err := mountPoint(ctx, t, r, tree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, point.Close()) }()
	return t.Attach(ctx, tree, point)
}

// mountPoint opens the place in the machine that the tree is to be mounted on.
func mountPoint(ctx context.Context, t nsenter.Target, r BindRequest, tree *os.File) (_ *os.File, err error) {
	var source unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &source); err != nil {
		return nil, err
	}
	isDir := source.Mode&unix.S_IFMT == unix.S_IFDIR
	root, err := t.Root()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	point, err := nsenter.OpenPath(root, r.Destination)
	if errors.Is(err, os.ErrNotExist) && r.Mkdir {
		if err := r.makePoint(ctx, t, root, isDir); err != nil {
			return nil, fmt.Errorf("make mount point: %w", err)
		}
		point, err = nsenter.OpenPath(root, r.Destination)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(point.Fd()), &st)
	if err == nil && (st.Mode&unix.S_IFMT == unix.S_IFDIR) != isDir {
		err = fmt.Errorf("only one of the two is a directory: %w", unix.ENOTDIR)
	}
	if err != nil {
		return nil, errors.Join(err, point.Close())
	}
	return point, nil
}

// makePoint makes a mount point and what is missing of its path, for the
// machine's root.
func (r BindRequest) makePoint(ctx context.Context, t nsenter.Target, root *os.File, isDir bool) error {
	if r.Owner == nil {
		return ErrNoRoot
	}
	maker := pointMaker{root: root, owner: *r.Owner, leader: t}
	at := "/"
	parts := strings.Split(strings.TrimPrefix(r.Destination, "/"), "/")
	for i, part := range parts {
		last := i == len(parts)-1
		below := path.Join(at, part)
		found, err := nsenter.OpenPath(root, below)
		if err == nil {
			err = found.Close()
		} else if errors.Is(err, os.ErrNotExist) {
			err = maker.entry(ctx, at, part, last, isDir || !last)
		}
		if err != nil {
			return err
		}
		at = below
	}
	return nil
}

// pointMaker makes mount points in a machine.
type pointMaker struct {
	root   *os.File
	owner  uint32 // the number of the machine's root
	leader nsenter.Target
}

// entry makes an empty directory or file.
func (m pointMaker) entry(ctx context.Context, at, name string, last, isDir bool) (err error) {
	dir, err := nsenter.OpenDir(m.root, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	mode := uint32(0o755)
	if last {
		mode = 0o700
	}
	if os.Geteuid() != 0 {
		if isDir {
			return m.leader.Make(ctx, dir, name, unix.S_IFDIR|mode)
		}
		return m.leader.Make(ctx, dir, name, unix.S_IFREG|mode)
	}
	if isDir {
		err = unix.Mkdirat(int(dir.Fd()), name, mode)
	} else {
		err = unix.Mknodat(int(dir.Fd()), name, unix.S_IFREG|mode, 0)
	}
	if err != nil {
		return &os.PathError{Op: "make", Path: path.Join(at, name), Err: err}
	}
	if m.owner == 0 {
		return nil
	}
	return giveTo(dir, name, m.owner)
}

// giveTo changes the owner of an entry that was just made. Something that the
// machine has mounted over it or moved into its place meanwhile stays as it is.
func giveTo(dir *os.File, name string, owner uint32) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // an O_PATH descriptor has nothing to lose
	var above, made unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &above); err != nil {
		return err
	}
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID|unix.STATX_BASIC_STATS, &made); err != nil {
		return err
	}
	if !isNew(made) || above.Mnt_id != made.Mnt_id || above.Dev_major != made.Dev_major || above.Dev_minor != made.Dev_minor {
		return fmt.Errorf("%s: %w", name, unix.EBUSY)
	}
	return unix.Fchownat(fd, "", int(owner), int(owner), unix.AT_EMPTY_PATH)
}

// isNew says whether an entry can be one that the host's root has just made: an
// empty file, or a directory without others in it.
func isNew(st unix.Statx_t) bool {
	if st.Uid != 0 {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return st.Size == 0 && st.Nlink == 1
	case unix.S_IFDIR:
		return st.Nlink <= 2
	}
	return false
}
