// Package foreign handles trees of an unprivileged user whose files belong to many users.
//
// A user may give files to nobody else, so two services of the host help: one gives a user namespace 64K users of its
// own, the other makes directories that belong to the foreign range, and mounts of them in which that range is mapped
// to the users of a namespace ([Services]). On the disk such a tree has the owners [Base] to [Base]+[Size]-1, whatever
// the namespace; as root of one the user can fill, copy and empty it.
//
// A namespace can only be entered by a process with a single thread, which no Go program is. So what is done to such a
// tree is done by this program started anew, in a namespace that is made with the process ([Start]). It is handed open
// directories and never looks at a path of the host. It may do no more than any user of the host, whoever takes it over.
//
// What systemd calls this is in systemd-nsresourced(8) and systemd-mountfsd(8), and in "Users, Groups, UIDs and GIDs on
// systemd systems".
package foreign

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// Base is the owner, on the disk, of what is root's in a tree of the foreign range.
	Base = 0x7FFE0000
	// Size is how many users and groups the range has, and each namespace.
	Size = 1 << 16
	// Nobody stands for every owner that does not fit into the range.
	Nobody = Size - 2
	// TopMode are the rights that the top of such a tree always has: its user is none of its owners, and could
	// neither list nor remove it without.
	TopMode = 0o005
)

// ErrUnavailable says that the host has no services for such trees, or that they cannot work here.
var ErrUnavailable = errors.New("its files belong to many users, for which systemd-nsresourced and systemd-mountfsd are needed")

// Services are what the host does for its users. The files that are passed stay the caller's; those that come back are
// too.
type Services interface {
	// AllocateRange gives a user namespace of the caller's that has no users yet the users 0 to [Size]-1.
	AllocateRange(ctx context.Context, userns *os.File) error
	// MakeDirectory makes a directory in one of the caller's, that belongs to [Base], has the mode 0755 and is open
	// for reading.
	MakeDirectory(ctx context.Context, parent *os.File, name string) (*os.File, error)
	// MountDirectory returns the top of a mount that is attached nowhere. It shows dir, which belongs to the foreign
	// range and lies in a directory of the caller's, with the owners that the namespace has.
	MountDirectory(ctx context.Context, dir, userns *os.File) (*os.File, error)
}

// Owned says whether a user id is of the foreign range.
func Owned(uid uint32) bool { return uid >= Base && uid-Base < Size }

// Tree says whether a file is the top of a tree that this process needs the host's services for. Root does not.
func Tree(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return needed(&st), nil
}

// TreeAt is [Tree] for an entry of a directory. What is not there is none.
func TreeAt(parent *os.File, name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(parent.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "stat", Path: parent.Name() + "/" + name, Err: err}
	}
	return needed(&st), nil
}

func needed(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && Owned(st.Uid) && os.Geteuid() != 0
}
