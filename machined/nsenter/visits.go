package nsenter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket makes a socket in the network namespace of the target.
func (t Target) Socket(ctx context.Context, domain, kind, protocol int) (socket *os.File, err error) {
	if os.Geteuid() != 0 {
		return t.visit(ctx, User|Net, errand{fetch: true, calls: []call{{
			nr: unix.SYS_SOCKET, args: [6]arg{num(domain), num(kind | unix.SOCK_CLOEXEC), num(protocol)}, opens: true,
		}}})
	}
	// A socket stays in the namespace in which it was made, so nothing else has to
	// happen there.
	err = In(ctx, t, Net, func() error {
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			socket = os.NewFile(uintptr(fd), "socket in the machine")
		}
		return err
	})
	return socket, err
}

// DetachedMount makes a mount of a file or directory of the caller's, without what
// is mounted below it, that is nowhere yet. Nothing that is mounted in it later
// comes back to where it is from.
func DetachedMount(ctx context.Context, source string, readOnly bool) (*os.File, error) {
	// Else it would share mounts with the place that it was cloned from, and the
	// machine could mount things on the host.
	attributes := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if readOnly {
		attributes.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	if os.Geteuid() != 0 {
		return detachByErrand(ctx, source, &attributes)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: source, Err: err}
	}
	tree := os.NewFile(uintptr(fd), source)
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
		return nil, errors.Join(fmt.Errorf("set attributes of mount: %w", err), tree.Close())
	}
	return tree, nil
}

// detachByErrand makes the mount where a plain user may: in a new user namespace
// with a copy of the caller's mounts.
func detachByErrand(ctx context.Context, source string, attributes *unix.MountAttr) (*os.File, error) {
	name, err := unix.BytePtrFromString(source)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: source, Err: err}
	}
	e := errand{fetch: true, calls: []call{
		{nr: unix.SYS_UNSHARE, args: [6]arg{num(unix.CLONE_NEWUSER | unix.CLONE_NEWNS)}},
		{
			nr: unix.SYS_OPEN_TREE, opens: true,
			args: [6]arg{num(unix.AT_FDCWD), ptr(name), num(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)},
		},
		{nr: unix.SYS_MOUNT_SETATTR, args: [6]arg{
			num(fetched), ptr(new(byte)), num(unix.AT_EMPTY_PATH), ptr(attributes), num(unsafe.Sizeof(*attributes)),
		}},
	}}
	stay := way{plain: true, clone: cloneArgs{exitSignal: uint64(unix.SIGCHLD)}}
	tree, err := e.run(ctx, &plan{way: stay})
	if err != nil {
		return nil, &os.PathError{Op: "open as a mount", Path: source, Err: err}
	}
	return tree, nil
}

// Attach mounts a detached mount on a place of the target. Both ends are open: no
// path is looked up any more.
func (t Target) Attach(ctx context.Context, tree, point *os.File) error {
	const flags = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	if os.Geteuid() != 0 {
		_, err := t.visit(ctx, User|Mount, errand{
			given: [givenCount]*os.File{tree, point},
			calls: []call{{nr: unix.SYS_MOVE_MOUNT, args: [6]arg{
				num(givenFirst), ptr(new(byte)), num(givenSecond), ptr(new(byte)), num(flags),
			}}},
		})
		return err
	}
	return In(ctx, t, Mount, func() error {
		return unix.MoveMount(int(tree.Fd()), "", int(point.Fd()), "", flags)
	})
}

// Make makes an empty directory, or a file, as the target's root would. It is for
// callers who are not root themselves.
func (t Target) Make(ctx context.Context, dir *os.File, name string, mode uint32) error {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return &os.PathError{Op: "make in the guest", Path: name, Err: err}
	}
	c := call{nr: unix.SYS_MKNODAT, args: [6]arg{num(givenFirst), ptr(path), num(mode)}}
	if mode&unix.S_IFMT == unix.S_IFDIR {
		c.nr, c.args[2] = unix.SYS_MKDIRAT, num(mode&^unix.S_IFMT)
	}
	_, err = t.visit(ctx, User, errand{given: [givenCount]*os.File{dir}, calls: []call{c}})
	if err != nil {
		return &os.PathError{Op: "make in the guest", Path: name, Err: err}
	}
	return nil
}

// reopen opens an inode for real, as the target's root.
func (t Target) reopen(ctx context.Context, place *os.File, flags int) (*os.File, error) {
	path, err := unix.BytePtrFromString(firstPath)
	if err != nil {
		return nil, err
	}
	return t.visit(ctx, User, errand{
		given: [givenCount]*os.File{place}, fetch: true,
		calls: []call{{nr: unix.SYS_OPENAT, args: [6]arg{num(unix.AT_FDCWD), ptr(path), num(flags)}, opens: true}},
	})
}
