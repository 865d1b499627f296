package nsenter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errand is a row of system calls that a copy of the process makes in some of
// the namespaces of a machine, as its root. It ends with the first that fails.
type errand struct {
	calls []call
	// given are open in the copy as givenFirst and givenSecond.
	given [givenCount]*os.File
	// fetch says that the errand brings the descriptor at fetched back.
	fetch bool

	message letter
}

// call is one system call. A descriptor that it returns becomes the one at
// fetched, if opens is set.
type call struct {
	nr    uintptr
	args  [6]arg
	opens bool
}

// arg is a number or, if that is set, an address. As a pointer it keeps what it
// points to alive, and off the stack, which moves.
type arg struct {
	n uintptr
	p unsafe.Pointer
}

func num[T int | uint32 | uint64 | uintptr](n T) arg { return arg{n: uintptr(n)} }

func ptr[T any](p *T) arg { return arg{p: unsafe.Pointer(p)} }

// The descriptors of an errand, which has no standard streams.
const (
	fdHome      = 0 // the socket that leads home
	givenFirst  = 1
	givenSecond = 2
	givenCount  = 2
	fetched     = fdCount

	// What is given by the names that these have in /proc.
	firstPath  = "/proc/self/fd/1"
	secondPath = "/proc/self/fd/2"
)

// letter is one byte that carries a descriptor, see unix(7).
type letter struct {
	header unix.Msghdr
	vector unix.Iovec
	text   byte
	rights struct {
		unix.Cmsghdr
		fd int32
		_  int32
	}
}

func (l *letter) write() {
	l.rights.Level, l.rights.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	l.rights.SetLen(unix.CmsgLen(4))
	l.rights.fd = fetched
	l.vector.Base = &l.text
	l.vector.SetLen(1)
	l.header.Iov, l.header.Iovlen = &l.vector, 1
	l.header.Control = (*byte)(unsafe.Pointer(&l.rights))
	l.header.SetControllen(unix.CmsgSpace(4))
}

// errandLimit is how long a row of calls may take. Nothing that a machine has,
// such as a filesystem that never answers, holds the caller up for longer.
const errandLimit = time.Minute

// visit goes on an errand into those of the given namespaces that the target does
// not share with the caller. What it fetched is the caller's to close. The errand
// is killed when ctx ends.
func (t Target) visit(ctx context.Context, kinds Namespaces, e errand) (*os.File, error) {
	foreign, err := t.Foreign()
	if err != nil {
		return nil, err
	}
	w, err := t.way(kinds & foreign)
	if err != nil {
		return nil, err
	}
	got, err := e.run(ctx, &plan{target: t, way: w})
	if err != nil {
		return nil, t.cause(err)
	}
	return got, nil
}

// run goes on the errand by a way that is known.
func (e *errand) run(ctx context.Context, p *plan) (got *os.File, err error) {
	ctx, cancel := context.WithTimeout(ctx, errandLimit)
	defer cancel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket for errand into machine: %w", err)
	}
	home, away := os.NewFile(uintptr(pair[0]), "home"), os.NewFile(uintptr(pair[1]), "away")
	defer func() { err = errors.Join(err, home.Close(), away.Close()) }()
	e.message.write()
	p.errand, p.over = e, make(chan struct{})
	// All of them have to be open.
	for i := range p.fds {
		p.fds[i] = away.Fd()
	}
	if p.target.PIDFD != nil {
		p.fds[fdPIDFD] = p.target.PIDFD.Fd()
	}
	for i, f := range e.given {
		if f != nil {
			p.fds[givenFirst+i] = f.Fd()
		}
	}
	if err := p.setCaps(); err != nil {
		return nil, err
	}
	result, err := p.run(ctx)
	runtime.KeepAlive(e) // the plan knows its files by number only
	switch {
	case err != nil:
		return nil, err
	case result.Signal != 0:
		return nil, fmt.Errorf("errand into machine was killed by signal %d", result.Signal)
	case result != Result{}:
		return nil, fmt.Errorf("errand into machine ended with status %d", result.ExitCode)
	case !e.fetch:
		return nil, nil
	}
	return receive(pair[0])
}

// receive takes the descriptor out of a letter that has arrived.
func receive(socket int) (*os.File, error) {
	text, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, text, rights, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, fmt.Errorf("receive from machine: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("receive from machine: %d messages: %w", len(messages), errors.Join(err, unix.EPROTO))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("receive from machine: %w", errors.Join(err, unix.EPROTO))
	}
	return os.NewFile(uintptr(fds[0]), "from the machine"), nil
}

// The rules stated above fork hold for the functions below.

//go:nosplit
//go:norace
func (a *arg) value() uintptr {
	if a.p != nil {
		return uintptr(a.p)
	}
	return a.n
}

// stayWithCaller has the copy killed when the thread that cloned it ends, which
// it does with the process: nobody else would end a copy that hangs. For changes of
// user the kernel forgets that, so it is the last thing to do. Who has ended before
// has closed his end of the socket.
//
//go:nosplit
//go:norace
func stayWithCaller() syscall.Errno {
	if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0); errno != 0 {
		return errno
	}
	var text [1]byte
	_, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fdHome, uintptr(unsafe.Pointer(&text)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	if errno != unix.EAGAIN {
		return unix.EPIPE
	}
	return 0
}

// carryOut makes the calls. It does not return if all succeed.
//
//go:nosplit
//go:norace
func carryOut(p *plan) syscall.Errno {
	if errno := stayWithCaller(); errno != 0 {
		return errno
	}
	for i := range p.errand.calls {
		c := &p.errand.calls[i]
		result, _, errno := syscall.RawSyscall6(c.nr, c.args[0].value(), c.args[1].value(), c.args[2].value(),
			c.args[3].value(), c.args[4].value(), c.args[5].value())
		if errno == 0 && c.opens && result != fetched {
			_, _, errno = syscall.RawSyscall(unix.SYS_DUP3, result, fetched, unix.O_CLOEXEC)
		}
		if errno != 0 {
			return errno
		}
	}
	if p.errand.fetch {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, fdHome, uintptr(unsafe.Pointer(&p.errand.message.header)), 0); errno != 0 {
			return errno
		}
	}
	leave(0)
	return 0
}
