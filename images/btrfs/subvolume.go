package btrfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Info is what btrfs records about a subvolume.
type Info struct {
	ID       uint64
	ParentID uint64 // of the subvolume that it lies in; 0: none
	UUID     [16]byte
	ReadOnly bool
	Created  time.Time // when the subvolume was made
	Modified time.Time // when something in it last changed
}

// Stat reads the record of a subvolume. It needs no privilege.
func Stat(f *os.File) (Info, error) {
	if !IsSubvolume(f) {
		return Info{}, fmt.Errorf("%s: %w", f.Name(), ErrNotSubvolume)
	}
	var args subvolInfoArgs
	if err := ioctl(f, getSubvolInfo, unsafe.Pointer(&args)); err != nil {
		return Info{}, fmt.Errorf("read subvolume record of %s: %w", f.Name(), err)
	}
	readOnly, err := ReadOnly(f)
	if err != nil {
		return Info{}, err
	}
	return Info{
		ID:       args.treeid,
		ParentID: args.parentID,
		UUID:     args.uuid,
		ReadOnly: readOnly,
		Created:  time.Unix(int64(args.otime.sec), int64(args.otime.nsec)),
		Modified: time.Unix(int64(args.ctime.sec), int64(args.ctime.nsec)),
	}, nil
}

// CreateSubvolume makes an empty subvolume at path, whose parent directory must be on btrfs. Its mode is 0777 less the
// umask. Where a quota group counts the subvolume that it is made in together with those nested in it, it counts the new
// one too. The errors of the kernel are kept: ENOTTY says that the parent is on another filesystem, EEXIST that the name
// is taken.
func CreateSubvolume(path string) error {
	parent, name, err := openParent(path)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := create(parent, name); err != nil {
		return fmt.Errorf("create subvolume %s: %w", path, err)
	}
	return nil
}

func create(parent *os.File, name string) error {
	var args volArgsV2
	args.join(groupsOf(parent))
	if err := putName(args.name[:], name); err != nil {
		return err
	}
	return ioctl(parent, subvolCreateV2, unsafe.Pointer(&args))
}

// ReadOnly tells whether the subvolume is read-only.
func ReadOnly(f *os.File) (bool, error) {
	flags, err := subvolumeFlags(f)
	return flags&flagReadOnly != 0, err
}

// SetReadOnly makes the subvolume read-only or writable. Subvolumes nested in it keep what they have.
func SetReadOnly(f *os.File, readOnly bool) error {
	old, err := subvolumeFlags(f)
	if err != nil {
		return err
	}
	flags := old &^ flagReadOnly
	if readOnly {
		flags |= flagReadOnly
	}
	if flags == old {
		return nil
	}
	if err := ioctl(f, subvolSetFlags, unsafe.Pointer(&flags)); err != nil {
		return fmt.Errorf("write subvolume flags of %s: %w", f.Name(), err)
	}
	return nil
}

func subvolumeFlags(f *os.File) (flags uint64, err error) {
	// On other files the ioctl answers EINVAL, on other filesystems ENOTTY; callers need one answer.
	if !IsSubvolume(f) {
		return 0, fmt.Errorf("%s: %w", f.Name(), ErrNotSubvolume)
	}
	if err := ioctl(f, subvolGetFlags, unsafe.Pointer(&flags)); err != nil {
		return 0, fmt.Errorf("read subvolume flags of %s: %w", f.Name(), err)
	}
	return flags, nil
}

func openParent(path string) (parent *os.File, name string, err error) {
	parent, err = os.OpenFile(filepath.Dir(path), unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, "", err
	}
	return parent, filepath.Base(path), nil
}

// putName writes a file name as a C string.
func putName(field []byte, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	copy(field, name)
	return nil
}

// checkName refuses what does not name one entry of a directory.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > unix.NAME_MAX || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("subvolume name %q: %w", name, unix.EINVAL)
	}
	return nil
}
