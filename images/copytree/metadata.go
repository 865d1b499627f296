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

// applyMetadata gives the entry name of the directory dst what st and the attributes of its source say. The order
// matters: a change of owner clears setuid bits and file capabilities, an ACL changes mode bits, and all that touches
// no time but ctime.
func (c *copier) applyMetadata(src, dst int, srcName, dstName string, st *unix.Statx_t) error {
	if err := unix.Fchownat(dst, dstName, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("change owner: %w", err)
	}
	if err := c.copyXattrs(procPath(src, srcName), procPath(dst, dstName)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		// The entry was made by this copy and is no link, so following is of no concern.
		if err := unix.Fchmodat(dst, dstName, uint32(st.Mode&0o7777), 0); err != nil {
			return fmt.Errorf("change mode: %w", err)
		}
	}
	times := []unix.Timespec{
		{Sec: st.Atime.Sec, Nsec: int64(st.Atime.Nsec)},
		{Sec: st.Mtime.Sec, Nsec: int64(st.Mtime.Nsec)},
	}
	if err := unix.UtimesNanoAt(dst, dstName, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("change times: %w", err)
	}
	return nil
}

// procPath names an entry of an open directory for calls that take only a path. The link in /proc leads to the very
// directory, and the L-variants of the xattr calls do not follow what comes after it.
func procPath(dir int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}

// copyXattrs copies all extended attributes that can mean something at the destination, ACLs and capabilities included.
func (c *copier) copyXattrs(src, dst string) error {
	n, err := unix.Llistxattr(src, c.names)
	if errors.Is(err, unix.EOPNOTSUPP) || n == 0 && err == nil {
		return nil
	} else if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for raw := range bytes.SplitSeq(bytes.TrimSuffix(c.names[:n], []byte{0}), []byte{0}) {
		name := string(raw)
		if private(name) {
			continue
		}
		n, err := unix.Lgetxattr(src, name, c.value)
		if errors.Is(err, unix.ENODATA) {
			continue
		} else if err != nil {
			return fmt.Errorf("read extended attribute %s: %w", name, err)
		}
		err = unix.Lsetxattr(dst, name, c.value[:n], 0)
		// Labels exist in the policy of a host; a filesystem that cannot keep them gets its own.
		if errors.Is(err, unix.EOPNOTSUPP) && name == "security.selinux" {
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
		err := unix.Fremovexattr(dst, name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("remove inherited ACL: %w", err)
		}
	}
	return nil
}
