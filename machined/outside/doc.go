// Package outside runs commands in machines from outside of the daemon's sandbox.
//
// A service manager starts the daemon with few rights and with filters of system
// calls, and whatever the daemon starts inherits them: it would be weaker than what
// the machine itself starts, and not as the machine's programs expect it. So each
// command gets a transient service of the host, in which this program, started
// anew under the name [Name], enters the machine. What it is to do, and the
// standard streams of the command, come over a socket. When that is closed, by
// a daemon that has ended too, the command is killed; when the program itself is,
// the service manager kills what else is in the unit, the command among it.
package outside

import (
	"errors"
	"syscall"

	"berth/machined/nsenter"
)

// Name is argument 0 of the program in the service. A program that uses [Commands]
// begins its main with a call of [Main] if it is called so.
const Name = "berth-outside"

// request is what the program is told, beside the files: the leader's pidfd, and
// those of the three streams that Streams names.
type request struct {
	PID      int
	Argv     []string
	Env      []string
	User     string
	Dir      string
	Program  string
	Terminal bool
	Streams  [3]bool
}

// maxFiles is how many come with a request.
const maxFiles = 4

// reply is what it answers: that the command runs, and then how it ended or why it
// did not begin.
type reply struct {
	Started bool
	Ended   *nsenter.Result
	Failure *failure
}

// failure is an error on its way from one process to another.
type failure struct {
	Text  string
	Errno syscall.Errno
	Known []int
}

// known are the errors that callers look for.
var known = []error{
	nsenter.ErrGone, nsenter.ErrCommandNotFound, nsenter.ErrNotExecutable, nsenter.ErrNoDirectory, nsenter.ErrInvalid,
	nsenter.ErrUnknownUser, nsenter.ErrTooLarge, nsenter.ErrNotRegular,
}

func fail(err error) *failure {
	f := &failure{Text: err.Error()}
	f.Errno, _ = errors.AsType[syscall.Errno](err)
	for i, one := range known {
		if errors.Is(err, one) {
			f.Known = append(f.Known, i)
		}
	}
	return f
}

// Error implements error.
func (f *failure) Error() string { return f.Text }

// Unwrap gives the error back the identities that it had.
func (f *failure) Unwrap() []error {
	var list []error
	if f.Errno != 0 {
		list = append(list, f.Errno)
	}
	for _, i := range f.Known {
		if i >= 0 && i < len(known) {
			list = append(list, known[i])
		}
	}
	return list
}
