// Package btrfs makes, snapshots, reads and deletes btrfs subvolumes with the kernel's own ioctls.
//
// Everything below a subvolume is reached through file descriptors and never through a symbolic link or another mount,
// since its content is an image and not trusted. Quota is read and limited where the administrator switched it on; this
// package never switches it on.
//
// Layouts and numbers are those of linux/btrfs.h and linux/btrfs_tree.h.
package btrfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotSubvolume says that a file is not the top directory of a btrfs subvolume.
var ErrNotSubvolume = errors.New("not a btrfs subvolume")

// ErrTooDeep says that subvolumes are nested deeper than this package follows.
var ErrTooDeep = errors.New("subvolumes are nested too deep")

// topInode is the inode number of the top directory of every subvolume.
const topInode = 256

// maxNesting bounds how deep subvolumes may lie in each other: each level holds open files.
const maxNesting = 64

// IsBtrfs tells whether the file lies on btrfs.
func IsBtrfs(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == unix.BTRFS_SUPER_MAGIC
}

// IsSubvolume tells whether the file is the top directory of a btrfs subvolume.
func IsSubvolume(f *os.File) bool {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return st.Ino == topInode && st.Mode&unix.S_IFMT == unix.S_IFDIR && IsBtrfs(f)
}
