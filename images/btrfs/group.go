package btrfs

import (
	"os"
	"unsafe"
)

// qgroupInherit is what a new subvolume is to be counted by. There is room for
// one group, more are never given.
type qgroupInherit struct {
	_, groups, _, _ uint64 // how many there are
	_               [5]uint64
	group           [1]uint64
}

// join has the subvolume that is made become a member of quota groups.
func (a *volArgsV2) join(groups []uint64) {
	if len(groups) == 0 {
		return
	}
	a.inherit = &qgroupInherit{groups: 1, group: [1]uint64{groups[0]}}
	a.size = uint64(unsafe.Sizeof(*a.inherit))
	a.flags |= flagInherit
}

// groupsOf finds the group that counts the subvolume which a directory lies in, and those nested in it, together. There is
// none where quota is off, or cannot be read.
func groupsOf(dir *os.File) []uint64 {
	var info subvolInfoArgs
	if err := ioctl(dir, getSubvolInfo, unsafe.Pointer(&info)); err != nil {
		return nil
	}
	group, err := groupOfID(dir, info.treeid)
	if err != nil || group>>groupLevelAt == 0 {
		return nil
	}
	return []uint64{group}
}
