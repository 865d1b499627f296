package copytree

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Inode flags, as in linux/fs.h.
const (
	flagImmutable  = 0x00000010
	flagAppendOnly = 0x00000020
	flagNoCOW      = 0x00800000
)

// Immutable tells whether the file has the immutable flag, chattr(1) +i. Filesystems without inode flags have none set.
func Immutable(f *os.File) (bool, error) {
	flags, err := inodeFlags(int(f.Fd()))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read inode flags of %s: %w", f.Name(), err)
	}
	return flags&flagImmutable != 0, nil
}

// SetImmutable sets or clears the immutable flag. Where the filesystem has no such flag the error is ENOTTY or
// EOPNOTSUPP, unless there is nothing to clear.
func SetImmutable(f *os.File, on bool) error {
	if !on {
		if set, err := Immutable(f); err != nil || !set {
			return err
		}
	}
	if err := changeFlag(int(f.Fd()), flagImmutable, on); err != nil {
		return fmt.Errorf("change immutable flag of %s: %w", f.Name(), err)
	}
	return nil
}

// SetNoCOW switches copy-on-write off for the data of an empty file, or of files to be made in a directory. It is of use
// on btrfs, where a disk image that is written in place fragments otherwise; elsewhere the error is ENOTTY or EOPNOTSUPP.
func SetNoCOW(f *os.File) error {
	if err := changeFlag(int(f.Fd()), flagNoCOW, true); err != nil {
		return fmt.Errorf("set no-copy-on-write flag of %s: %w", f.Name(), err)
	}
	return nil
}

func inodeFlags(fd int) (uint32, error) { return unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS) }

func changeFlag(fd int, flag uint32, on bool) error {
	old, err := inodeFlags(fd)
	if err != nil {
		return err
	}
	flags := old &^ flag
	if on {
		flags |= flag
	}
	if flags == old {
		return nil
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(int32(flags)))
}

// unprotect clears the flags that keep a file or the entries of a directory from being removed. It reports whether any
// was set.
func unprotect(fd int) (lifted bool, err error) {
	const protected = flagImmutable | flagAppendOnly
	flags, err := inodeFlags(fd)
	if err != nil || flags&protected == 0 {
		return false, err
	}
	return true, changeFlag(fd, protected, false)
}
