package cli

import (
	"errors"
	"fmt"
)

// Exit is an error with a status of its own, such as that of a command that was run in a machine.
type Exit struct {
	Status int
	// Err is shown to the user unless it is nil.
	Err error
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }

// ExitStatus returns what a tool exits with: 0 for success, 1 for failure unless the error says something else.
func ExitStatus(err error) int {
	if exit, ok := errors.AsType[*Exit](err); ok {
		return exit.Status
	}
	if err != nil {
		return 1
	}
	return 0
}

// Message returns what is to be said about an error, "" if nothing is.
func Message(err error) string {
	if err == nil {
		return ""
	}
	if exit, ok := errors.AsType[*Exit](err); ok && exit.Err == nil {
		return ""
	}
	return Printable(err.Error())
}
