package ptyforward

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// The keys that leave a session: three times ^] within a second.
const (
	escapeKey   = 0x1d
	escapeCount = 3
	escapeTime  = time.Second
)

// endOfFile is ^D.
const endOfFile = 0x04

// again is how long a terminal that nobody has open is left alone, in
// milliseconds, and nagging how long a program has to take an end of file.
const (
	again   = 50
	nagging = 1000
)

// copyIn sends what comes from our side. It returns when the user has left or the
// session is stopped.
func (s *session) copyIn() error {
	terminal := term.IsTerminal(int(s.In.Fd()))
	if !terminal && !s.settle() {
		return nil
	}
	buf := make([]byte, chunk)
	var escape escape
	last := byte('\n')
	for {
		if !await(int(s.In.Fd()), unix.POLLIN, s.stop, forever) {
			return nil
		}
		n, err := s.In.Read(buf)
		switch {
		case n > 0:
			if terminal && escape.pressed(buf[:n], time.Now()) {
				return nil
			}
			last = buf[n-1]
			if err := s.send(buf[:n]); err != nil {
				return err
			}
		case terminal: // it went away
			return nil
		case err == nil || errors.Is(err, io.EOF):
			return s.sendEnd(last)
		default:
			return fmt.Errorf("read standard input: %w", err)
		}
	}
}

// send writes to the other side. Where nobody has it open it waits for somebody.
func (s *session) send(data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(s.pty, data)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if !await(s.pty, unix.POLLOUT, s.stop, forever) {
				return nil
			}
		case errors.Is(err, unix.EIO):
			if s.stop.await(again) {
				return nil
			}
		case err != nil:
			return fmt.Errorf("write to the terminal of the machine: %w", err)
		default:
			data = data[n:]
		}
	}
	return nil
}

// sendEnd tells the other side that nothing more will come, as long as the
// session lasts: a program may throw away what was typed before it started, and
// then there may be another one behind it.
func (s *session) sendEnd(last byte) error {
	s.patient.Store(false)
	s.look.ring()
	if last != '\n' { // the first one only ends the line
		if err := s.send([]byte{endOfFile}); err != nil {
			return err
		}
	}
	for {
		if err := s.send([]byte{endOfFile}); err != nil || s.stop.await(nagging) {
			return err
		}
	}
}

// escape counts the keys that leave a session.
type escape struct {
	count int
	since time.Time
}

// pressed says whether the keys were among what was typed just now.
func (e *escape) pressed(typed []byte, now time.Time) bool {
	for _, key := range typed {
		if key != escapeKey {
			e.count = 0
			continue
		}
		if e.count == 0 || now.Sub(e.since) > escapeTime {
			e.count, e.since = 0, now
		}
		if e.count++; e.count == escapeCount {
			return true
		}
	}
	return false
}
