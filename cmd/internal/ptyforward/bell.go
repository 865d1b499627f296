package ptyforward

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// forever is a time-out that never comes.
const forever = -1

// bell wakes goroutines that wait for files.
type bell struct{ fd int }

func newBell() (*bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &bell{fd}, nil
}

func (b *bell) close() error { return unix.Close(b.fd) }

// ring wakes all, now and until it is silenced.
func (b *bell) ring() {
	_, _ = unix.Write(b.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // fails when it has rung very often
}

func (b *bell) silence() {
	var count [8]byte
	_, _ = unix.Read(b.fd, count[:]) // fails when it has not rung
}

func (b *bell) rung() bool { return b.await(0) }

// await waits for the bell for some milliseconds.
func (b *bell) await(milliseconds int) bool {
	fds := []unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds, milliseconds) // an interruption is as good as the end of the time
	return fds[0].Revents != 0
}

// await waits until a file is ready, or has an end to tell; it is false if the
// bell came first.
func await(fd int, events int16, b *bell, milliseconds int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(b.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, milliseconds); err != nil && !errors.Is(err, unix.EINTR) {
			return true // reading or writing will tell what is wrong
		}
		switch {
		case fds[1].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}
