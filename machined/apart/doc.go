// Package apart does what looks into a machine's file systems in processes of its
// own: copies, bind mounts, os-release, root directories. A machine may have a
// file system whose server never answers; whoever asks it waits as long as it
// likes, in a way that even SIGKILL may not end. A process can be given up, a
// thread of the daemon cannot.
//
// The processes are this program started anew (package errand) under the name
// [Name]. How many there may be at once is bounded, for a machine, for a user and
// in all; one that was given up counts until it has really ended.
package apart

import (
	"berth/images/copytree"
	"berth/images/errand"
	"berth/machined/nsenter"
)

// Name is argument 0 of the processes. A program that uses [Crew] begins its main
// with a call of [Main] if it is called so.
const Name = "berth-apart"

// request is what a process is told; one field is set beside the process id.
type request struct {
	PID     int // of the machine's leader, whose pidfd is the first file
	Release bool
	Root    bool // the second file is the socket for it
	Copy    *CopyRequest
	Bind    *BindRequest
}

// known are the errors that callers look for.
var known = []error{
	nsenter.ErrGone, nsenter.ErrTooLarge, nsenter.ErrNotRegular, copytree.ErrMoved, copytree.ErrTooDeep, ErrNoRoot,
}

// Main is the whole life of a process; the result is its exit status.
func Main() int {
	var r request
	ctx, err := errand.Receive(&r)
	if err != nil {
		return errand.Reply(nil, err)
	}
	t := nsenter.Target{PID: r.PID, PIDFD: errand.File(0)}
	var answer []byte
	switch {
	case r.Release:
		answer, err = readRelease(t)
	case r.Root:
		err = sendRoot(t, errand.File(1))
	case r.Copy != nil:
		err = r.Copy.do(ctx, t)
	case r.Bind != nil:
		err = r.Bind.do(ctx, t)
	}
	return errand.Reply(answer, err, known...)
}
