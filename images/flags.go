package images

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/copytree"
)

// unsupported reports that a file system has no such feature.
func unsupported(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

// liftImmutable clears the flag that keeps an entry from being renamed or
// removed. Entries that are no file or directory have none.
func liftImmutable(parent *os.File, file string) error {
	_, err := setImmutableAt(parent, file, false)
	return err
}

// setImmutableAt sets or clears the flag and reports whether it was other.
func setImmutableAt(parent *os.File, file string, on bool) (changed bool, err error) {
	f, err := openEntry(parent, file)
	if errors.Is(err, errNoImage) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	was, err := copytree.Immutable(f)
	if err != nil {
		return false, fmt.Errorf("read flags of %s: %w", file, err)
	}
	if was == on {
		return false, nil
	}
	if err := copytree.SetImmutable(f, on); err != nil {
		return false, fmt.Errorf("change flags of %s: %w", file, err)
	}
	return true, nil
}

// openEntry opens a file or directory, never through a symlink; errNoImage for
// everything else, since opening a device can have effects.
func openEntry(parent *os.File, file string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(parent.Fd()), file, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, &os.PathError{Op: "stat", Path: parent.Name() + "/" + file, Err: err}
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil, errNoImage
	}
	fd, err := unix.Openat(int(parent.Fd()), file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: parent.Name() + "/" + file, Err: err}
	}
	return os.NewFile(uintptr(fd), parent.Name()+"/"+file), nil
}
