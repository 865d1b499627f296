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
	tree, err := detachedMount(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	point, err := mountPoint(t, r, tree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, point.Close()) }()
	// Both ends are open: in the namespace no path is looked up any more.
	return nsenter.In(ctx, t, nsenter.Mount, func() error {
		const flags = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
		return unix.MoveMount(int(tree.Fd()), "", int(point.Fd()), "", flags)
	})
}

// detachedMount makes a mount of the source that is nowhere yet.
func detachedMount(r BindRequest) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, r.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: r.Source, Err: err}
	}
	tree := os.NewFile(uintptr(fd), r.Source)
	// Else it would share mounts with the place that it was cloned from, and the
	// machine could mount things on the host.
	attributes := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if r.ReadOnly {
		attributes.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
		return nil, errors.Join(fmt.Errorf("set attributes of mount: %w", err), tree.Close())
	}
	return tree, nil
}

// mountPoint opens the place in the machine that the tree is to be mounted on.
func mountPoint(t nsenter.Target, r BindRequest, tree *os.File) (_ *os.File, err error) {
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
		if err := r.makePoint(root, isDir); err != nil {
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
func (r BindRequest) makePoint(root *os.File, isDir bool) error {
	if r.Owner == nil {
		return ErrNoRoot
	}
	at := "/"
	parts := strings.Split(strings.TrimPrefix(r.Destination, "/"), "/")
	for i, part := range parts {
		last := i == len(parts)-1
		below := path.Join(at, part)
		found, err := nsenter.OpenPath(root, below)
		if err == nil {
			err = found.Close()
		} else if errors.Is(err, os.ErrNotExist) {
			err = makeEntry(root, at, part, *r.Owner, last, isDir || !last)
		}
		if err != nil {
			return err
		}
		at = below
	}
	return nil
}

// makeEntry makes an empty directory or file.
func makeEntry(root *os.File, at, name string, owner uint32, last, isDir bool) (err error) {
	dir, err := nsenter.OpenDir(root, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	mode := uint32(0o755)
	if last {
		mode = 0o700
	}
	if isDir {
		err = unix.Mkdirat(int(dir.Fd()), name, mode)
	} else {
		err = unix.Mknodat(int(dir.Fd()), name, unix.S_IFREG|mode, 0)
	}
	if err != nil {
		return &os.PathError{Op: "make", Path: path.Join(at, name), Err: err}
	}
	if owner == 0 {
		return nil
	}
	return giveTo(dir, name, owner)
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
