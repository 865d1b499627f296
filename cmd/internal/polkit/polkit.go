// Package polkit decides whether a caller may do something: by asking polkit
// over D-Bus where it runs, by user and group where it does not.
package polkit

import (
	"errors"
	"os"
)

var (
	// ErrDenied means that the caller may not do it.
	ErrDenied = errors.New("access denied")
	// ErrInteractive means that it depends on a password, and that the caller
	// did not allow to ask for one.
	ErrInteractive = errors.New("interactive authentication required")
)

// Subject is who asks, as the transport saw it.
type Subject struct {
	UID uint32
	PID int
	// PIDFD refers to the process itself; nil where the transport cannot tell.
	PIDFD *os.File
	// BusName is the caller's unique name on the bus, if it came over one.
	BusName string
}
