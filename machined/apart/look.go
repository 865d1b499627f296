package apart

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/machined/nsenter"
)

// readRelease reads an os-release file.
func readRelease(t nsenter.Target) (text []byte, err error) {
	root, err := t.Root()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	text, err = nsenter.ReadFile(root, "/etc/os-release", maxRelease)
	if errors.Is(err, os.ErrNotExist) {
		text, err = nsenter.ReadFile(root, "/usr/lib/os-release", maxRelease)
	}
	return text, err
}

// openRoot opens the root directory for real.
func openRoot(t nsenter.Target) (_ *os.File, err error) {
	root, err := t.Root()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root directory: %w", err)
	}
	return os.NewFile(uintptr(fd), "/"), nil
}

// connect connects to a socket of the machine.
func connect(ctx context.Context, t nsenter.Target, name string) (_ *os.File, err error) {
	conn, err := t.Connect(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.File()
}
