package transfer

import "fmt"

// Side tells which end of a transfer failed.
type Side string

const (
	// Source is where the bytes come from: a server, a file, a directory.
	Source Side = "source"
	// Sink is where they go: the image store, an output file.
	Sink Side = "sink"
)

// Error is a failed transfer and the end that failed, so that a full disk is
// never reported as a bad URL.
type Error struct {
	Side Side
	Err  error
}

// Error returns the text of the cause: which end it was is in that already.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// GoString helps tests to print which end failed.
func (e *Error) GoString() string { return fmt.Sprintf("%s: %v", e.Side, e.Err) }
