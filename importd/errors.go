package importd

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrNoSuchTransfer means that no transfer has the given id, or no longer.
	ErrNoSuchTransfer = errors.New("no such transfer")
	// ErrInProgress means that the same URL is being pulled already, by a caller who
	// does not want to wait for that.
	ErrInProgress = errors.New("already in progress")
	// ErrTooMany means that as many transfers run as are allowed at once.
	ErrTooMany = errors.New("too many transfers")
	// ErrCanceled is the end of a transfer that somebody canceled.
	ErrCanceled = errors.New("canceled")
)

// InvalidError is a request that cannot be carried out whatever the state of
// the host.
type InvalidError struct {
	// Field is the parameter at fault, by its Varlink name.
	Field  string
	Reason string
}

// Error names the parameter and what is wrong with it.
func (e *InvalidError) Error() string { return fmt.Sprintf("invalid %s: %s", e.Field, e.Reason) }

// Failure is why a transfer failed, as its worker told it.
type Failure struct {
	// Text is for people: what was attempted, on what, and why it failed.
	Text string `json:"text"`
	// Errno is the error number behind it, or 0.
	Errno syscall.Errno `json:"errno,omitempty"`
}

// Error returns the text.
func (f *Failure) Error() string { return f.Text }

// Unwrap gives the error number to errors.Is, if there is one.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

// failureOf makes an error ready for the wire.
func failureOf(err error) *Failure {
	if known, ok := errors.AsType[*Failure](err); ok && known.Text == err.Error() {
		return known
	}
	f := &Failure{Text: err.Error()}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		f.Errno = errno
	}
	return f
}
