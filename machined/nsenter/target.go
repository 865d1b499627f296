package nsenter

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrGone says that the leader of the machine has ended.
var ErrGone = errors.New("leader of the machine has ended")

// Target is a machine as seen through its leader, the PID 1 of a container.
type Target struct {
	// PID is the leader's process id in the caller's pid namespace.
	PID int
	// PIDFD refers to the same process. It stays the caller's.
	PIDFD *os.File
}

// Open makes a Target of a process id. The caller closes PIDFD.
func Open(pid int) (Target, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			err = ErrGone
		}
		return Target{}, fmt.Errorf("open pidfd of process %d: %w", pid, err)
	}
	return Target{PID: pid, PIDFD: os.NewFile(uintptr(fd), "pidfd:"+strconv.Itoa(pid))}, nil
}

// Namespaces is a set of namespace kinds, by the kernel's CLONE_NEW* bits.
type Namespaces uint32

// The kinds of namespaces.
const (
	Mount  Namespaces = unix.CLONE_NEWNS
	PID    Namespaces = unix.CLONE_NEWPID
	Net    Namespaces = unix.CLONE_NEWNET
	UTS    Namespaces = unix.CLONE_NEWUTS
	IPC    Namespaces = unix.CLONE_NEWIPC
	Cgroup Namespaces = unix.CLONE_NEWCGROUP
	Time   Namespaces = unix.CLONE_NEWTIME
	User   Namespaces = unix.CLONE_NEWUSER
)

// procNames are the links below /proc/PID/ns.
var procNames = map[Namespaces]string{
	Mount: "mnt", PID: "pid", Net: "net", UTS: "uts", IPC: "ipc",
	Cgroup: "cgroup", Time: "time", User: "user",
}

// Foreign returns the kinds of which the target lives in another namespace
// than the caller. A kind that the kernel does not have counts as shared.
func (t Target) Foreign() (Namespaces, error) {
	var foreign Namespaces
	for kind, name := range procNames {
		// Not /proc/self: that is the main thread, whatever it may have joined.
		own, err := identity("/proc/thread-self/ns/" + name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("look at own %s namespace: %w", name, err)
		}
		its, err := identity(t.proc("ns/" + name))
		if err != nil {
			return 0, fmt.Errorf("look at %s namespace of process %d: %w", name, t.PID, t.cause(err))
		}
		if its != own {
			foreign |= kind
		}
	}
	if err := t.Alive(); err != nil {
		return 0, err
	}
	return foreign, nil
}

// Alive returns [ErrGone] when the leader has ended, a zombie included. Called
// after something was read by way of /proc/PID it proves that the thing read
// was the leader's.
func (t Target) Alive() error {
	fds := []unix.PollFd{{Fd: int32(t.PIDFD.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("poll pidfd of process %d: %w", t.PID, err)
		case n > 0:
			return fmt.Errorf("process %d: %w", t.PID, ErrGone)
		}
		return nil
	}
}

// cause replaces an error by ErrGone when the leader's end explains it.
func (t Target) cause(err error) error {
	if gone := t.Alive(); gone != nil {
		return gone
	}
	return err
}

func (t Target) proc(name string) string {
	return "/proc/" + strconv.Itoa(t.PID) + "/" + name
}

// inode tells one namespace (or file) from another.
type inode struct{ dev, ino uint64 }

func identity(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return inode{dev: st.Dev, ino: st.Ino}, nil
}
