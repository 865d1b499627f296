package images

import (
	"context"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/images/foreign"
)

// block is an image on a block device.
type block struct{}

var _ backend = block{}

func (block) facts(e entry, img *Image) error {
	img.ReadOnly = e.stat.Mode&writeBits == 0
	f, err := os.OpenFile(e.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		// A device node without device, or without the right to open it, is an
		// image of unknown size.
		return nil //nolint:nilerr // see above
	}
	defer f.Close()
	if ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET); err == nil && ro != 0 {
		img.ReadOnly = true
	}
	if size, err := blockSize(f); err == nil {
		img.Usage, img.UsageExclusive, img.Limit, img.LimitExclusive = size, size, size, size
	}
	return nil
}

// blockSize is the size of the device in bytes.
func blockSize(f *os.File) (uint64, error) {
	var size uint64
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return size, nil
}

// remove takes a node out of an image directory; devices below /dev are the
// kernel's, and stay.
func (block) remove(_ context.Context, _ *foreign.User, parent *os.File, file string) error {
	if underDev(parent.Name() + "/") {
		return nil
	}
	return unlink(parent, file)
}

func (block) clone(context.Context, *foreign.User, Image, string, CloneOptions) (*Pending, error) {
	return nil, fmt.Errorf("%w: a block device cannot be cloned", ErrNotSupported)
}

func (block) setReadOnly(path string, readOnly bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	value := 0
	if readOnly {
		value = 1
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, value)
}

func (block) suffix() string { return "" }

func underDev(path string) bool { return strings.HasPrefix(path, "/dev/") }
