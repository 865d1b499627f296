package varlink

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end of a connection, as the kernel noted it when
// the connection was made. It never changes afterwards.
type Peer struct {
	UID, GID uint32
	PID      int // 0 if the process is not visible in our PID namespace
	// PIDFD refers to the process itself, nil where the kernel has no
	// SO_PEERPIDFD (before 6.5) or the process is gone already. It is open until
	// the last handler of the connection has returned.
	PIDFD *os.File
}

func peerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("look at peer: %w", err)
	}
	var peer Peer
	var inner error
	if err := raw.Control(func(fd uintptr) { peer, inner = readPeer(int(fd)) }); err != nil {
		return Peer{}, fmt.Errorf("look at peer: %w", err)
	}
	return peer, inner
}

func readPeer(fd int) (Peer, error) {
	// A listening socket made by a service manager may have these switched on;
	// what they add to each read would leave less room for descriptors.
	for _, option := range []int{unix.SO_PASSCRED, unix.SO_PASSSEC, unix.SO_PASSPIDFD} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 0); err != nil &&
			!errors.Is(err, unix.ENOPROTOOPT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return Peer{}, fmt.Errorf("set socket option %d: %w", option, err)
		}
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("get credentials of peer: %w", err)
	}
	peer := Peer{UID: cred.Uid, GID: cred.Gid, PID: int(cred.Pid)}
	// The kernel makes this descriptor close-on-exec.
	if pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
		peer.PIDFD = os.NewFile(uintptr(pidfd), "pidfd of varlink peer")
	}
	return peer, nil
}

func (p Peer) close() {
	if p.PIDFD != nil {
		_ = p.PIDFD.Close()
	}
}
