package varlink

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// passRights lets file descriptors through a socket. The service manager can make
// listening sockets that refuse them (SO_PASSRIGHTS, Linux 6.16), as those of the
// stock daemons are: what connects to one refuses them too, until it is told.
func passRights(socket any) error {
	s, ok := socket.(syscall.Conn)
	if !ok {
		return nil // no socket of the kernel's
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return fmt.Errorf("let file descriptors through: %w", err)
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 1)
	})
	if errors.Is(inner, unix.ENOPROTOOPT) {
		inner = nil // an older kernel, which lets them through
	}
	if err := errors.Join(err, inner); err != nil {
		return fmt.Errorf("let file descriptors through: %w", err)
	}
	return nil
}

// welcome prepares a socket that listens, or one that was accepted. Without
// descriptors most calls work still.
func (s *Server) welcome(socket any) {
	if !s.opts.AcceptFDs {
		return
	}
	if err := passRights(socket); err != nil {
		s.log.Warn("varlink clients cannot pass file descriptors", "error", err)
	}
}
