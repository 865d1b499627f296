package ptyforward

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// chunk is how much is moved at once, in bytes. A pipe that can be written to
// takes that much without waiting.
const chunk = 4096

// copyOut shows what comes from the other side, until that has hung up.
func (s *session) copyOut() (err error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("watch the terminal of the machine: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(poll)) }()
	// A terminal that nobody has open is ready all the time; only a change counts.
	for fd, events := range map[int]uint32{
		s.pty: unix.EPOLLIN | unix.EPOLLET, s.stop.fd: unix.EPOLLIN, s.look.fd: unix.EPOLLIN,
	} {
		event := unix.EpollEvent{Events: events, Fd: int32(fd)}
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return fmt.Errorf("watch the terminal of the machine: %w", err)
		}
	}
	for {
		if done, err := s.drain(); done || err != nil {
			return err
		}
		events := make([]unix.EpollEvent, 1)
		if _, err := unix.EpollWait(poll, events, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watch the terminal of the machine: %w", err)
		}
		if s.stop.rung() {
			return nil
		}
		s.look.silence()
	}
}

// drain shows all that is there. Done means that nothing more will come.
func (s *session) drain() (done bool, err error) {
	buf := make([]byte, chunk)
	for {
		n, err := unix.Read(s.pty, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return s.gone.Load(), nil
		case errors.Is(err, unix.EIO) || n == 0 && err == nil:
			return !s.patient.Load(), nil
		case err != nil:
			return true, fmt.Errorf("read from the terminal of the machine: %w", err)
		default:
			s.last = buf[n-1]
			if err := s.write(buf[:n]); err != nil || s.stop.rung() {
				return true, err
			}
		}
	}
}

// write writes to our side, and gives up when the session is stopped.
func (s *session) write(data []byte) error {
	for len(data) > 0 {
		if !await(int(s.Out.Fd()), unix.POLLOUT, s.stop, forever) {
			return nil
		}
		n, err := s.Out.Write(data[:min(len(data), chunk)])
		if err != nil {
			return fmt.Errorf("write to our terminal: %w", err)
		}
		data = data[n:]
	}
	return nil
}
