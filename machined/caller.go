package machined

import (
	"errors"
	"os"
)

// Caller is on whose behalf something is asked for. Adapters make it once, when
// the message arrives.
type Caller struct {
	UID, GID uint32
	PID      int // 0 if the process is not visible here
	// PIDFD refers to the process itself, the one of PID; nil where the transport
	// cannot tell. It stays the adapter's and is not used after the call returned.
	PIDFD *os.File
	// Administrator is set when the caller has authenticated as an administrator
	// for this very call.
	Administrator bool
}

// Privileged reports whether the caller may do everything: it is root, or the
// user the daemon itself runs as.
func (c Caller) Privileged() bool {
	return c.UID == 0 || int(c.UID) == os.Geteuid()
}

// open opens the calling process. Its number and pidfd are the transport's word, so
// that they need no comparing.
func (c Caller) open() (*Process, error) {
	if c.PIDFD == nil {
		return OpenProcess(c.PID)
	}
	dup, err := dupFile(c.PIDFD)
	if err != nil {
		return nil, err
	}
	p, err := newProcess(c.PID, dup, false)
	if err == nil && !p.Alive() {
		return nil, errors.Join(ErrNoSuchProcess, p.Close())
	}
	return p, err
}
