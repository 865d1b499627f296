// Package copytree copies and deletes directory trees of images.
//
// A tree is foreign: it may hold symbolic links to anywhere, device nodes, a million directories in each other. Every
// step is relative to a directory descriptor, never follows a symbolic link and never enters another mount. The number
// of open descriptors does not depend on the tree.
package copytree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrTooDeep says that the directories of a tree lie in each other deeper than any path could name.
var ErrTooDeep = errors.New("directories are nested too deep")

// ErrMoved says that somebody moved a directory or replaced an entry while it was being worked on.
var ErrMoved = errors.New("changed while in use")

// wanted is what one statx call has to tell.
const wanted = unix.STATX_BASIC_STATS | unix.STATX_MNT_ID

// id tells files of one system apart.
type id struct {
	major, minor uint32
	inode        uint64
}

func idOf(st *unix.Statx_t) id { return id{st.Dev_major, st.Dev_minor, st.Ino} }

// sameMount tells whether a file is on a mount. The mount's id says so; kernels before 5.8 do not report it, and there
// it is the device that counts, which misses a bind mount of the same filesystem.
func sameMount(mount, file *unix.Statx_t) bool {
	if mount.Mask&file.Mask&unix.STATX_MNT_ID != 0 {
		return mount.Mnt_id == file.Mnt_id
	}
	return mount.Dev_major == file.Dev_major && mount.Dev_minor == file.Dev_minor
}

func isDir(st *unix.Statx_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

func isRegular(st *unix.Statx_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

// statAt describes name in a directory, or the descriptor itself if name is empty.
func statAt(dir int, name string, st *unix.Statx_t) error {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return retry(func() error { return unix.Statx(dir, name, flags, wanted, st) })
}

// openAt opens an entry for reading. It does not wait for the other end of a FIFO, and follows nothing.
func openAt(dir int, name string, flags int) (fd int, err error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags, 0)
		return err
	})
	return fd, err
}

// openParent opens the directory above dir, which must still be the one that was left.
func openParent(dir int, want id) (int, error) {
	fd, err := openAt(dir, "..", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, fmt.Errorf("open parent directory: %w", err)
	}
	var st unix.Statx_t
	if err = statAt(fd, "", &st); err == nil && idOf(&st) != want {
		err = ErrMoved
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("open parent directory: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
