// Package inside reads small files of an image, whatever is planted there.
package inside

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Max is how much a file inside an image may have, in bytes.
const Max = 64 << 10

// ErrNotRegular says that there is something else than a file.
var ErrNotRegular = errors.New("it is no regular file")

// Read reads a small regular file inside an image. Symlinks, absolute
// ones too, are resolved as if the image were the root of the file system, and
// nothing but a regular file is opened: a device or fifo planted there is never
// touched.
func Read(root *os.File, path string) (_ []byte, err error) {
	probe, err := Open(root, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	info, err := probe.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s in image: %w", path, ErrNotRegular)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", probe.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s in image: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, Max+1))
	if err != nil {
		return nil, fmt.Errorf("read %s in image: %w", path, err)
	}
	if len(data) > Max {
		return nil, fmt.Errorf("read %s in image: it is larger than %d bytes", path, Max)
	}
	return data, nil
}

// Open finds a file inside an image without opening what it is.
func Open(root *os.File, path string) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	// The kernel gives up with EAGAIN when something is renamed meanwhile.
	for range 16 {
		fd, err := unix.Openat2(int(root.Fd()), path, how)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "openat2", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
	return nil, &os.PathError{Op: "openat2", Path: path, Err: unix.EAGAIN}
}
