package nsenter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

var (
	// ErrTooLarge says that a file of the guest is larger than was asked for.
	ErrTooLarge = errors.New("file is too large")
	// ErrNotRegular says that a name in the guest is not a regular file.
	ErrNotRegular = errors.New("not a regular file")
)

// Root opens the root directory of the target as a place to resolve names in
// (O_PATH). The caller closes it.
func (t Target) Root() (*os.File, error) {
	path := t.proc("root")
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root of process %d: %w", t.PID, t.cause(err))
	}
	root := os.NewFile(uintptr(fd), path)
	if err := t.Alive(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// ReadFile reads a regular file of at most limit bytes. The name, absolute or
// not, and every symlink on its way are resolved within root. An absent file is
// os.ErrNotExist. A device, pipe or socket is ErrNotRegular and is never
// opened, so that a guest cannot make the caller wait or trigger a driver.
func ReadFile(root *os.File, name string, limit int64) (data []byte, err error) {
	f, err := openInode(root, name, func(st *unix.Stat_t) bool {
		return st.Mode&unix.S_IFMT == unix.S_IFREG
	}, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s in the guest: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s in the guest: more than %d bytes: %w", name, limit, ErrTooLarge)
	}
	return data, nil
}

// OpenDir opens a directory as a place to resolve names in (O_PATH). The name and
// every symlink on its way are resolved within root; links of /proc that lead
// elsewhere are refused.
func OpenDir(root *os.File, name string) (*os.File, error) {
	return openPath(root, name, unix.O_DIRECTORY)
}

// OpenPath is OpenDir for anything, which is not opened for real.
func OpenPath(root *os.File, name string) (*os.File, error) { return openPath(root, name, 0) }

func openPath(root *os.File, name string, flags uint64) (*os.File, error) {
	fd, err := openat2(root, name, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// maxTries bounds how often a lookup is begun anew.
const maxTries = 100

// openat2 resolves a name within root. The kernel gives up on "..", which a link
// may hold, whenever anything is renamed on the host; then it is tried again.
func openat2(root *os.File, name string, how unix.OpenHow) (fd int, err error) {
	how.Resolve |= unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	for range maxTries {
		fd, err = unix.Openat2(int(root.Fd()), name, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return -1, &os.PathError{Op: "open in the guest", Path: name, Err: err}
	}
	return fd, nil
}

// openNull opens the guest's own null device: a descriptor of the host's would
// let the guest change owner and mode of the host's node.
func openNull(root *os.File) (*os.File, error) {
	return openInode(root, "/dev/null", func(st *unix.Stat_t) bool {
		return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
	}, unix.O_RDWR)
}

// openInode opens a name within root in two steps: first without effect, then,
// when the inode found is acceptable, that same inode for real.
func openInode(root *os.File, name string, accept func(*unix.Stat_t) bool, flags int) (*os.File, error) {
	return openInodeBy(reopen, root, name, accept, flags)
}

// openInodeBy is openInode with another second step.
func openInodeBy(
	reopen func(*os.File, int) (*os.File, error), root *os.File, name string, accept func(*unix.Stat_t) bool, flags int,
) (_ *os.File, err error) {
	place, err := OpenPath(root, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	var st unix.Stat_t
	if err := unix.Fstat(int(place.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat in the guest", Path: name, Err: err}
	}
	if !accept(&st) {
		return nil, &os.PathError{Op: "open in the guest", Path: name, Err: ErrNotRegular}
	}
	// O_NONBLOCK: no lease or lock of the guest's may hold the open up.
	f, err := reopen(place, flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, &os.PathError{Op: "open in the guest", Path: name, Err: err}
	}
	// A null device that stays O_NONBLOCK would hand that flag to the command.
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return nil, errors.Join(&os.PathError{Op: "open in the guest", Path: name, Err: err}, f.Close())
	}
	return f, nil
}

// reopen opens an inode for real.
func reopen(place *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open("/proc/thread-self/fd/"+strconv.Itoa(int(place.Fd())), flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), place.Name()), nil
}
