package nsenter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNotSocket says that a name in the guest is not a socket.
var ErrNotSocket = errors.New("not a socket")

// Connect connects to a stream socket below the target's root. The peer sees
// the machine's root as its client: what the kernel tells it (SO_PEERCRED) are
// the ids, in the machine's namespaces, of whoever calls connect, so a copy of
// the process does, which joins the machine's pid and user namespaces first.
// os.ErrNotExist if there is no such socket.
func (t Target) Connect(ctx context.Context, name string) (_ *net.UnixConn, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	foreign, err := t.Foreign()
	if err != nil {
		return nil, err
	}
	place, err := t.socketPlace(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(place)) }()
	// Without blocking: a guest may have a socket and never accept.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	socket := os.NewFile(uintptr(fd), name)
	defer func() { err = errors.Join(err, socket.Close()) }()
	d := &dialer{socket: uintptr(fd), pidfd: t.PIDFD.Fd(), place: uintptr(place), ownUser: foreign&User != 0}
	if err := d.run(ctx, t, foreign); err != nil {
		return nil, fmt.Errorf("connect to %s in the guest: %w", name, t.cause(err))
	}
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, fmt.Errorf("connect to %s in the guest: %w", name, err)
	}
	return conn.(*net.UnixConn), nil // of an AF_UNIX stream socket
}

// socketPlace opens a socket's inode without effect.
func (t Target) socketPlace(name string) (fd int, err error) {
	root, err := t.Root()
	if err != nil {
		return -1, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	fd, err = openat2(root, name, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		err = ErrNotSocket
	}
	if err != nil {
		return -1, errors.Join(&os.PathError{Op: "open in the guest", Path: name, Err: err}, unix.Close(fd))
	}
	return fd, nil
}

// dialLimit is how long the copy may take, which nothing that it does does.
const dialLimit = 10 * time.Second

// dialer is what the copy that connects needs to know.
type dialer struct {
	socket, pidfd, place uintptr
	ownUser              bool
	clone                cloneArgs
}

// Where the copy has its descriptors.
const (
	dialSocket = 3
	dialPIDFD  = 4
	dialCount  = 6
	// dialAddress names descriptor 5, the inode of the socket, which is not looked
	// up in the guest a second time.
	dialAddress = "/proc/self/fd/5"
)

// run connects the socket in a copy of the process.
func (d *dialer) run(ctx context.Context, t Target, foreign Namespaces) error {
	d.clone = cloneArgs{exitSignal: uint64(unix.SIGCHLD)}
	var pid uintptr
	err := onThread(func() error {
		if foreign&PID != 0 {
			if err := t.join(PID); err != nil {
				return err
			}
		}
		var address unix.RawSockaddrUnix
		address.Family = unix.AF_UNIX
		for i := range len(dialAddress) {
			address.Path[i] = int8(dialAddress[i])
		}
		syscall.ForkLock.Lock()
		defer syscall.ForkLock.Unlock()
		var errno syscall.Errno
		pid, errno = forkDialer(d, &address)
		runtime.KeepAlive(t)
		if errno != 0 {
			return fmt.Errorf("clone process for machine: %w", errno)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return collect(ctx, int(pid))
}

// collect waits for the copy, whose exit status is the error number. It does
// nothing that takes time, but somebody in the machine may stop it.
func collect(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	killed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { killed <- unix.Kill(pid, unix.SIGKILL) })
	// Not collected before kill is through, so that the number is taken.
	err := awaitEnd(pid)
	var ended error
	if !stop() {
		ended = errors.Join(context.Cause(ctx), <-killed)
	}
	status, waitErr := reap(pid)
	switch {
	case err != nil || waitErr != nil:
		return errors.Join(err, waitErr, ended)
	case status.Exited() && status.ExitStatus() == 0:
		return nil
	case status.Exited():
		return syscall.Errno(status.ExitStatus())
	}
	return errors.Join(ended, fmt.Errorf("process in machine was killed by signal %d", status.Signal()))
}

// reap collects a child that has ended.
func reap(pid int) (status unix.WaitStatus, err error) {
	for {
		_, err = unix.Wait4(pid, &status, 0, nil)
		if err == nil {
			return status, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return status, fmt.Errorf("wait for process in machine: %w", err)
		}
	}
}

// The rules stated above fork hold for the functions below.

//go:nosplit
//go:norace
func forkDialer(d *dialer, address *unix.RawSockaddrUnix) (uintptr, syscall.Errno) {
	all, old := ^uint64(0), uint64(0)
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0); errno != 0 {
		return 0, errno
	}
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&d.clone)), cloneArgsSize, 0)
	if errno == 0 && pid == 0 {
		leave(uintptr(dial(d, address)))
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid, errno
}

// dial connects with the eyes of the guest's root.
//
//go:nosplit
//go:norace
func dial(d *dialer, address *unix.RawSockaddrUnix) syscall.Errno {
	// Nobody in the guest may attach to a copy of the host's memory.
	if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	fds := [...]uintptr{d.socket, d.pidfd, d.place}
	for i := range fds {
		fd, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, fds[i], unix.F_DUPFD_CLOEXEC, dialCount)
		if errno != 0 {
			return errno
		}
		fds[i] = fd
	}
	for i := range fds {
		if _, _, errno := syscall.RawSyscall(unix.SYS_DUP3, fds[i], uintptr(dialSocket+i), unix.O_CLOEXEC); errno != 0 {
			return errno
		}
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, dialCount, uintptr(^uint32(0)), 0); errno != 0 {
		return errno
	}
	if d.ownUser {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETNS, dialPIDFD, unix.CLONE_NEWUSER, 0); errno != 0 {
			return errno
		}
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); errno != 0 {
			return errno
		}
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno != 0 {
			return errno
		}
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, dialSocket, uintptr(unsafe.Pointer(address)), unix.SizeofSockaddrUnix)
	return errno
}
