package ptyforward

import "golang.org/x/sys/unix"

// Times of settle, in milliseconds: between two looks, how long all must look
// well, and when it is given up.
const (
	settleLook = 10
	settleCalm = 100
	settleMost = 3000
)

// settle waits until there is a program that reads from the terminal, false if
// the session was stopped. What starts the program first resets the terminal,
// and asks it for its size on the way: whatever has been typed by then is lost.
// Nobody types that fast, but a pipe does.
func (s *session) settle() bool {
	calm := 0
	for waited := 0; waited < settleMost && calm < settleCalm; waited += settleLook {
		if s.stop.await(settleLook) {
			return false
		}
		if s.inUse() {
			calm += settleLook
		} else {
			calm = 0
		}
	}
	return true
}

// inUse says whether the terminal belongs to a session and takes lines.
func (s *session) inUse() bool {
	if _, err := unix.IoctlGetInt(s.pty, unix.TIOCGSID); err != nil {
		return false
	}
	mode, err := unix.IoctlGetTermios(s.pty, unix.TCGETS)
	return err == nil && mode.Lflag&unix.ICANON != 0
}
