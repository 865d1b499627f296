package images

import (
	"golang.org/x/sys/unix"
)

// mounts knows for the time of one listing which mounts are read-only, which does
// not show in an inode.
type mounts map[uint64]bool

// readOnly reports whether the file system of an entry, or its mount, takes no
// changes. What is written through a device file is not on it.
func (m mounts) readOnly(e entry) bool {
	if uint32(e.stat.Mode)&unix.S_IFMT == unix.S_IFBLK {
		return false
	}
	if e.stat.Mask&unix.STATX_MNT_ID == 0 { // Linux before 5.8
		return mountedReadOnly(e.path)
	}
	readOnly, ok := m[e.stat.Mnt_id]
	if !ok {
		readOnly = mountedReadOnly(e.path)
		m[e.stat.Mnt_id] = readOnly
	}
	return readOnly
}

func mountedReadOnly(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_RDONLY != 0
}
