package apart

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/errand"
)

// pass sends a file by the socket that the process was given, and closes it.
func pass(file *os.File) (err error) {
	defer func() { err = errors.Join(err, file.Close()) }()
	socket := errand.File(1)
	defer func() { err = errors.Join(err, socket.Close()) }()
	if err := unix.Sendmsg(int(socket.Fd()), []byte{0}, unix.UnixRights(int(file.Fd())), nil, 0); err != nil {
		return fmt.Errorf("pass %s on: %w", file.Name(), err)
	}
	return nil
}

// receive takes the one file that has been sent.
func receive(socket *os.File, name string) (*os.File, error) {
	data, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), data, rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive %s: %w", name, err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("receive %s: %d messages: %w", name, len(messages), errors.Join(err, unix.EBADMSG))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("receive %s: %d files: %w", name, len(fds), errors.Join(err, unix.EBADMSG))
	}
	return os.NewFile(uintptr(fds[0]), name), nil
}
