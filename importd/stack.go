package importd

import (
	"errors"
	"fmt"
	"os"

	"berth/images"

	"golang.org/x/sys/unix"
)

// openStack opens the union of the layers of a mount stack, as a machine sees it. It
// is mounted nowhere, and gone when it is closed.
func openStack(image images.Image) (_ *os.File, err error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) == 1 { // which the kernel does not take for a union
		return os.OpenFile(layers[0], os.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	root, err := mountUnion(layers)
	if err != nil {
		return nil, fmt.Errorf("put the %d layers of image %q together: %w", len(layers), image.Name, err)
	}
	defer func() { err = errors.Join(err, unix.Close(root)) }()
	dir, err := unix.Openat(root, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open image %q: %w", image.Name, err)
	}
	return os.NewFile(uintptr(dir), image.Path), nil
}

// mountUnion makes an overlay of directories, the bottom first, that nobody can write
// to. Its layers have what was removed from those below in attributes of the user
// namespace, see systemd.mstack(7).
func mountUnion(layers []string) (root int, err error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open the overlay file system: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fs)) }()
	if err := unix.FsconfigSetFlag(fs, "userxattr"); err != nil {
		return -1, fmt.Errorf("set the attributes of an overlay: %w", err)
	}
	for i := len(layers) - 1; i >= 0; i-- { // the kernel wants the top first
		if err := addLayer(fs, layers[i]); err != nil {
			return -1, fmt.Errorf("add layer %s: %w", layers[i], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("make the overlay: %w", err)
	}
	root, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return -1, fmt.Errorf("mount the overlay: %w", err)
	}
	return root, nil
}

// addLayer adds a directory by its descriptor, since its path may be too long.
func addLayer(fs int, path string) (err error) {
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(dir)) }()
	return unix.FsconfigSetString(fs, "lowerdir+", fmt.Sprintf("/proc/self/fd/%d", dir))
}
