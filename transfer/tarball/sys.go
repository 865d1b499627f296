package tarball

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// retry repeats a call that a signal interrupted. The Go runtime preempts goroutines by signals, and some file
// systems (FUSE, NFS) let them through.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR { //nolint:errorlint // an errno straight from the kernel
			return err
		}
	}
}

// openat opens without following a symbolic link in the last component, which is the only one.
func openat(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

func pwriteAll(fd int, p []byte, offset int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, offset)
		if err == unix.EINTR { //nolint:errorlint // an errno straight from the kernel
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
		offset += int64(n)
	}
	return nil
}

// setModTime sets the time of last modification of an open file and leaves the time of access alone. The kernel takes
// a descriptor without a name, which x/sys cannot express.
func setModTime(fd int, mtime unix.Timespec) error {
	times := modTimes(mtime)
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times[0])), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func modTimes(mtime unix.Timespec) [2]unix.Timespec {
	return [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
}
