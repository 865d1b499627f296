package copytree

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits that the kernel sets for extended attributes: one value, and all names of a file.
const (
	maxXattrValue = 64 << 10
	maxXattrNames = 64 << 10
)

const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// applyMetadata gives an open copy what st and the attributes of its source say. The order matters: a change of owner
// clears setuid bits and file capabilities, an ACL changes mode bits, and all that touches no time but ctime. The copy
// may be open without effect (O_PATH): its link in /proc leads to the very inode, a symbolic link included, and no name
// is looked up again.
func (c *copier) applyMetadata(src string, fd int, st *unix.Statx_t) error {
	dst := fdPath(fd)
	uid, gid, mode := st.Uid, st.Gid, uint32(st.Mode&0o7777)
	if c.merge != nil && c.merge.Owner != nil {
		uid, gid, mode = c.merge.Owner.UID, c.merge.Owner.GID, c.merge.Owner.mode(st)
	}
	if err := unix.Fchownat(fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("change owner: %w", err)
	}
	if err := c.copyXattrs(src, dst); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := changeMode(fd, mode, st); err != nil {
			return fmt.Errorf("change mode: %w", err)
		}
	}
	times := []unix.Timespec{
		{Sec: st.Atime.Sec, Nsec: int64(st.Atime.Nsec)},
		{Sec: st.Mtime.Sec, Nsec: int64(st.Mtime.Nsec)},
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, dst, times, 0); err != nil {
		return fmt.Errorf("change times: %w", err)
	}
	return nil
}

// changeMode spares the way through /proc where it may: files and directories are open for use, nodes are not.
func changeMode(fd int, mode uint32, st *unix.Statx_t) error {
	if isRegular(st) || isDir(st) {
		return unix.Fchmod(fd, mode)
	}
	return unix.Chmod(fdPath(fd), mode)
}

// fdPath names what a descriptor stands for.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// procPath names an entry of an open directory for calls that take only a path. The link in /proc leads to the very
// directory, and the L-variants of the xattr calls do not follow what comes after it.
func procPath(dir int, name string) string {
	return fdPath(dir) + "/" + name
}

// copyXattrs copies all extended attributes that can mean something at the destination, ACLs and capabilities included.
// The source is not followed if it is a symbolic link, the destination is.
func (c *copier) copyXattrs(src, dst string) error {
	n, err := unix.Llistxattr(src, c.names)
	if errors.Is(err, unix.EOPNOTSUPP) || n == 0 && err == nil {
		return nil
	} else if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for raw := range bytes.SplitSeq(bytes.TrimSuffix(c.names[:n], []byte{0}), []byte{0}) {
		name := string(raw)
		if private(name) || c.merge != nil && !c.merge.wants(name) {
			continue
		}
		n, err := unix.Lgetxattr(src, name, c.value)
		if errors.Is(err, unix.ENODATA) {
			continue
		} else if err != nil {
			return fmt.Errorf("read extended attribute %s: %w", name, err)
		}
		err = unix.Setxattr(dst, name, c.value[:n], 0)
		// Labels exist in the policy of a host; a filesystem that cannot keep them gets its own. A merge has no choice of
		// its destination, and is done by a daemon that may not be allowed to give capabilities.
		if errors.Is(err, unix.EOPNOTSUPP) && (name == "security.selinux" || c.merge != nil) ||
			errors.Is(err, unix.EPERM) && c.merge != nil && name == "security.capability" {
			continue
		}
		if err != nil {
			return fmt.Errorf("write extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// private tells whether an attribute belongs to the filesystem and not to the file: everything in the system namespace
// but the ACLs (system.nfs4_acl, system.sockprotoname), btrfs properties, and the second face that XFS gives to ACLs.
func private(name string) bool {
	if name == accessACL || name == defaultACL {
		return false
	}
	return strings.HasPrefix(name, "system.") || strings.HasPrefix(name, "btrfs.") || strings.HasPrefix(name, "trusted.SGI_ACL_")
}

// dropInheritedACLs takes the ACLs off the destination that it has from the directory it was made in, lest everything
// made in it inherits them.
func dropInheritedACLs(dst int) error {
	for _, name := range []string{defaultACL, accessACL} {
		err := unix.Removexattr(fdPath(dst), name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("remove inherited ACL: %w", err)
		}
	}
	return nil
}
