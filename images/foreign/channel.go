package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// message is what goes over the channel, in one packet.
type message struct {
	Verb verb `json:"verb,omitempty"`
	// Notes are what a tree gets noted on it.
	Notes map[string]string `json:"notes,omitempty"`
	// Failed is an answer's: what went wrong, with the error number behind it.
	Failed string        `json:"failed,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`
}

const (
	// maxPacket bounds a message, in bytes. Notes are URLs and the like.
	maxPacket = 64 << 10
	// maxFiles bounds the files with one message.
	maxFiles = 4
)

// socketPair makes a channel. A packet arrives whole or not at all.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "channel")
	ours, err = connOf(os.NewFile(uintptr(fds[0]), "channel"))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// connOf takes over a socket.
func connOf(f *os.File) (*net.UnixConn, error) {
	conn, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("use a socket: %w", err)
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("the channel is no UNIX socket"), conn.Close())
	}
	return unixConn, nil
}

func send(conn *net.UnixConn, m message, files ...*os.File) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	if len(data) > maxPacket {
		return fmt.Errorf("a message of %d bytes is too long", len(data))
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err = conn.WriteMsgUnix(data, rights, nil); err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	return nil
}

// receive returns the next message and its files, or [io.EOF] when the peer is gone.
func receive(conn *net.UnixConn) (m message, files []*os.File, err error) {
	data, control := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(maxFiles*4))
	n, controlLen, flags, _, err := conn.ReadMsgUnix(data, control)
	switch {
	case err != nil:
		return m, nil, fmt.Errorf("receive a message: %w", err)
	case n == 0:
		return m, nil, io.EOF
	}
	files, err = filesOf(control[:controlLen])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("a message is too long")
	}
	if err == nil {
		err = json.Unmarshal(data[:n], &m)
	}
	if err != nil {
		return m, nil, errors.Join(fmt.Errorf("read a message: %w", err), closeAll(files))
	}
	return m, files, nil
}

func filesOf(control []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "tree"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// failure is what went wrong on the other side.
type failure struct {
	text  string
	errno syscall.Errno
}

func (f *failure) Error() string { return f.text }

// Unwrap gives the error number to errors.Is, if there is one.
func (f *failure) Unwrap() error {
	if f.errno == 0 {
		return nil
	}
	return f.errno
}

// answer is an error as it goes over the channel.
func answer(err error) message {
	if err == nil {
		return message{}
	}
	m := message{Failed: err.Error()}
	if len(m.Failed) > maxPacket/2 {
		m.Failed = m.Failed[:maxPacket/2]
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		m.Errno = errno
	}
	return m
}

// err is the error that an answer tells of.
func (m message) err() error {
	if m.Failed == "" {
		return nil
	}
	return &failure{m.Failed, m.Errno}
}
