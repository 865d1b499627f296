// Package apart does what looks into a machine's file systems in processes of its
// own: copies, bind mounts, os-release, root directories, pseudo terminals, sockets,
// and what there is to know of a user before a command runs. A machine may have a
// file system whose server never answers; whoever asks it waits as long as it
// likes, in a way that even SIGKILL may not end. A process can be given up, a
// thread of the daemon cannot.
//
// The processes are this program started anew (package errand) under the name
// [Name]. How many there may be at once is bounded, for a machine, for a user and
// in all; one that was given up counts until it has really ended.
package apart

import (
	"context"
	"os"

	"berth/images/copytree"
	"berth/images/errand"
	"berth/machined/nsenter"
)

// Name is argument 0 of the processes. A program that uses [Crew] begins its main
// with a call of [Main] if it is called so.
const Name = "berth-apart"

// request is what a process is told; one field is set beside the process id.
type request struct {
	PID      int // of the machine's leader, whose pidfd is the first file
	Release  bool
	Root     bool // this and the next three pass a file on, by a socket that is the second file
	Connect  string
	Terminal *uint32 // its owner
	Find     *findRequest
	Copy     *CopyRequest
	Bind     *BindRequest
}

// findRequest asks for what nsenter.Target.Find returns.
type findRequest struct {
	User string
	Null bool
}

// known are the errors that callers look for.
var known = []error{
	nsenter.ErrGone, nsenter.ErrTooLarge, nsenter.ErrNotRegular, copytree.ErrMoved, copytree.ErrTooDeep, ErrNoRoot,
	nsenter.ErrNotSocket, nsenter.ErrNoUserNamespace, nsenter.ErrUnknownUser,
}

// Main is the whole life of a process; the result is its exit status.
func Main() int {
	var r request
	ctx, err := errand.Receive(&r)
	if err != nil {
		return errand.Reply(nil, err)
	}
	t := nsenter.Target{PID: r.PID, PIDFD: errand.File(0)}
	answer, err := r.do(ctx, t)
	return errand.Reply(answer, err, known...)
}

func (r request) do(ctx context.Context, t nsenter.Target) (answer any, err error) {
	switch {
	case r.Release:
		return readRelease(t)
	case r.Copy != nil:
		return nil, r.Copy.do(ctx, t)
	case r.Bind != nil:
		return nil, r.Bind.do(ctx, t)
	}
	var file *os.File
	switch {
	case r.Root:
		file, err = openRoot(t)
	case r.Connect != "":
		file, err = connect(ctx, t, r.Connect)
	case r.Terminal != nil:
		var pty nsenter.PTY
		pty, err = t.OpenPTY(ctx, *r.Terminal)
		file, answer = pty.Master, pty.Number
	case r.Find != nil:
		var found nsenter.Found
		found, err = t.Find(r.Find.User, r.Find.Null)
		file, found.Null = found.Null, nil // which goes by the socket
		answer = found
	}
	if err != nil || file == nil {
		return answer, err
	}
	return answer, pass(file)
}
