package apart

import (
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

// sendRoot opens the root directory for real and passes it on.
func sendRoot(t nsenter.Target, socket *os.File) (err error) {
	root, err := t.Root()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root directory: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.Sendmsg(int(socket.Fd()), []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		return fmt.Errorf("pass root directory on: %w", err)
	}
	return nil
}

// receiveFile takes the one file that has been sent.
func receiveFile(socket *os.File) (*os.File, error) {
	data, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), data, rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive root directory: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("receive root directory: %d messages: %w", len(messages), errors.Join(err, unix.EBADMSG))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("receive root directory: %d files: %w", len(fds), errors.Join(err, unix.EBADMSG))
	}
	return os.NewFile(uintptr(fds[0]), "/"), nil
}
