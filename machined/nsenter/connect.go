package nsenter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotSocket says that a name in the guest is not a socket.
var ErrNotSocket = errors.New("not a socket")

// Connect connects to a stream socket below the target's root. The peer sees
// the machine's root as its client: what the kernel tells it (SO_PEERCRED) are
// the ids, in the machine's namespaces, of whoever calls connect, so an errand
// into the machine's pid and user namespaces does. os.ErrNotExist if there is no
// such socket.
func (t Target) Connect(ctx context.Context, name string) (_ *net.UnixConn, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	place, err := t.socketPlace(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	// Without blocking: a guest may have a socket and never accept.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), name)
	defer func() { err = errors.Join(err, socket.Close()) }()
	address := &unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	for i, c := range []byte(secondPath) { // not looked up in the guest a second time
		address.Path[i] = int8(c)
	}
	_, err = t.visit(ctx, PID|User, errand{
		given: [givenCount]*os.File{socket, place},
		calls: []call{{nr: unix.SYS_CONNECT, args: [6]arg{num(givenFirst), ptr(address), num(unix.SizeofSockaddrUnix)}}},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s in the guest: %w", name, t.cause(err))
	}
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, fmt.Errorf("connect to %s in the guest: %w", name, err)
	}
	return conn.(*net.UnixConn), nil // of an AF_UNIX stream socket
}

// socketPlace opens a socket's inode without effect.
func (t Target) socketPlace(name string) (_ *os.File, err error) {
	root, err := t.Root()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	place, err := OpenPath(root, name)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(place.Fd()), &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		err = ErrNotSocket
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open in the guest", Path: name, Err: err}, place.Close())
	}
	return place, nil
}
