package ptyforward

import "golang.org/x/sys/unix"

// Times of settle, in milliseconds: between two looks, how long a terminal that
// takes lines must stay as it is, how long any other, and when it is given up.
const (
	settleLook  = 10
	settleLines = 100
	settleKeys  = 600
	settleMost  = 3000
)

// settle waits until there is a program that reads from the terminal, false if
// the session was stopped. What starts the program first resets the terminal,
// and for a third of a second waits for it to tell its size: whatever has been
// typed by then is lost. Nobody types that fast, but a pipe does.
func (s *session) settle() bool {
	var before uint32
	calm := 0
	for waited := 0; waited < settleMost; waited += settleLook {
		if s.stop.await(settleLook) {
			return false
		}
		mode, used := s.mode()
		if calm += settleLook; !used || mode != before {
			calm, before = 0, mode
		}
		if calm >= settleKeys || calm >= settleLines && mode&unix.ICANON != 0 {
			return true
		}
	}
	return true
}

// mode returns the local modes of the terminal, and whether it belongs to a
// session.
func (s *session) mode() (mode uint32, used bool) {
	if _, err := unix.IoctlGetInt(s.pty, unix.TIOCGSID); err != nil {
		return 0, false
	}
	t, err := unix.IoctlGetTermios(s.pty, unix.TCGETS)
	if err != nil {
		return 0, false
	}
	return t.Lflag, true
}
