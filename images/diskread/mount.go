package diskread

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/partition"
)

// maxTries is how often somebody else may be quicker to take a loop device.
const maxTries = 64

// attach binds a part of the disk to a loop device, read-only. The device clears
// itself when its last user is gone.
func attach(disk *os.File, where partition.Extent) (_ *os.File, err error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: no loop devices here: %w", ErrUnreadable, err)
	}
	defer func() { err = errors.Join(err, control.Close()) }()
	config := unix.LoopConfig{Fd: uint32(disk.Fd())}
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
	if !where.Whole {
		config.Info.Offset, config.Info.Sizelimit = uint64(where.Offset), uint64(where.Size)
	}
	for range maxTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("%w: open loop device: %w", ErrUnreadable, err)
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		if err = errors.Join(err, device.Close()); !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("set up loop device: %w", err)
		}
	}
	return nil, errors.New("set up loop device: others are always quicker")
}

// options keep file systems from writing to a disk that was not closed cleanly:
// it is read-only, and then they would not mount it. An ext4 may also ask for the
// kernel to panic when it is found damaged.
var options = map[string][]string{
	"ext4":  {"noload", "errors=remount-ro"},
	"xfs":   {"norecovery", "nouuid"},
	"btrfs": {"rescue=nologreplay"},
	"f2fs":  {"norecovery"},
}

// mount has the kernel read a file system, and returns its root. The mount is
// attached nowhere; it ends when nothing of it is open any more.
func mount(kind, device string) (_ *os.File, err error) {
	step := func(err error) error { return fmt.Errorf("mount %s file system: %w", kind, err) }
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENODEV) {
		return nil, step(fmt.Errorf("%w: this kernel does not have it: %w", ErrUnreadable, err))
	}
	if err != nil {
		return nil, step(err)
	}
	defer func() { err = errors.Join(err, unix.Close(fs)) }()
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return nil, step(err)
	}
	if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
		return nil, step(err)
	}
	for _, option := range options[kind] {
		if err := setOption(fs, option); err != nil {
			return nil, step(fmt.Errorf("option %s: %w", option, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, step(fmt.Errorf("%w: %w", ErrUnreadable, err))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC,
		unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, step(err)
	}
	return os.NewFile(uintptr(fd), "root"), nil
}
