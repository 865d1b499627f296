package varlink

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// parseFDs takes the descriptors out of the control data of one read. It
// returns those it found even with an error, for the caller to close. They are
// close-on-exec because net sets MSG_CMSG_CLOEXEC.
func parseFDs(oob []byte, flags int) ([]*os.File, error) {
	var files []*os.File
	var bad error
	if flags&unix.MSG_CTRUNC != 0 {
		bad = fmt.Errorf("%w: more than %d file descriptors in one message", ErrProtocol, MaxFDs)
	}
	if len(oob) == 0 {
		return nil, bad
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, errors.Join(bad, fmt.Errorf("parse control data: %w", err))
	}
	for i := range messages {
		if messages[i].Header.Level != unix.SOL_SOCKET || messages[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("parse passed file descriptors: %w", err))
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "varlink:"+strconv.Itoa(fd)))
		}
	}
	return files, bad
}

// checkSize refuses a message that the other end would not take.
func checkSize(data []byte, files []*os.File) error {
	if len(data) > MaxMessage {
		return fmt.Errorf("message of %d bytes is over the limit of %d", len(data), MaxMessage)
	}
	if len(files) > MaxFDs {
		return fmt.Errorf("%d file descriptors with one message are over the limit of %d", len(files), MaxFDs)
	}
	return nil
}

// sendMessage writes data and its NUL, with the files attached to the first
// byte. The files stay the caller's.
func sendMessage(conn *net.UnixConn, data []byte, files []*os.File) error {
	frame := append(data, 0)
	if len(files) > 0 {
		n, err := sendWithFDs(conn, frame, files)
		if err != nil {
			return err
		}
		frame = frame[n:]
	}
	if len(frame) == 0 {
		return nil
	}
	_, err := conn.Write(frame)
	return err
}

func sendWithFDs(conn *net.UnixConn, frame []byte, files []*os.File) (n int, err error) {
	fds := make([]int, 0, len(files))
	// The raw descriptors are only valid while the files are held open, which
	// nested Control calls see to even if someone closes them meanwhile.
	var send func(rest []*os.File) error
	send = func(rest []*os.File) error {
		if len(rest) == 0 {
			n, _, err = conn.WriteMsgUnix(frame, unix.UnixRights(fds...), nil)
			return err
		}
		raw, err := rest[0].SyscallConn()
		if err != nil {
			return fmt.Errorf("pass file descriptor of %s: %w", rest[0].Name(), err)
		}
		var inner error
		if err := raw.Control(func(fd uintptr) {
			fds = append(fds, int(fd))
			inner = send(rest[1:])
		}); err != nil {
			return fmt.Errorf("pass file descriptor of %s: %w", rest[0].Name(), err)
		}
		return inner
	}
	return n, send(files)
}
