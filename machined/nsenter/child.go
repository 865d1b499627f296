package nsenter

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is what the copy was doing when it had to give up.
type step uint32

const (
	stepSignals step = iota + 1
	stepAgain
	stepMoved // no failure: the number is that of the process that goes on
	stepSession
	stepDescriptors
	stepPrivileges
	stepNamespaces
	stepRoot
	stepUserNamespace
	stepBounding
	stepIDs
	stepDir
	stepKeyring
	stepFilters
	stepExec
	stepErrand
)

var stepNames = map[step]string{
	stepSignals:       "reset signals of command in machine",
	stepAgain:         "clone process into pid namespace",
	stepSession:       "make session of command in machine",
	stepDescriptors:   "arrange descriptors of command in machine",
	stepPrivileges:    "give up host privileges in machine",
	stepNamespaces:    "join namespaces",
	stepRoot:          "enter root directory",
	stepUserNamespace: "join user namespace",
	stepBounding:      "bound capabilities to those of leader",
	stepIDs:           "become user in machine",
	stepDir:           "enter directory",
	stepKeyring:       "leave session keyring of command in machine",
	stepFilters:       "set filters of system calls of leader",
	stepExec:          "run command",
	stepErrand:        "do errand in machine",
}

// failure is the one message that a copy which cannot go on sends.
type failure struct {
	step  step
	errno syscall.Errno
}

// readFailure waits until the copy has become the command (nil) or reports.
func readFailure(r io.Reader) *failure {
	var message [8]byte
	if _, err := io.ReadFull(r, message[:]); err != nil {
		return nil // closed by execve, or by a kill whose status says enough
	}
	return &failure{
		step:  step(binary.NativeEndian.Uint32(message[:4])),
		errno: syscall.Errno(binary.NativeEndian.Uint32(message[4:])),
	}
}

// start clones the process.
func (p *plan) start() (*os.Process, error) {
	var pid uintptr
	err := onThreadUntil(p.over, func() error {
		// The pid namespace takes effect on the children of this thread only.
		if err := p.target.join(p.thread); err != nil {
			return err
		}
		// No descriptor may be between open and close-on-exec at this moment.
		syscall.ForkLock.Lock()
		defer syscall.ForkLock.Unlock()
		var errno syscall.Errno
		pid, errno = fork(p)
		if p.plain && p.cgroup != nil && (errno == unix.EACCES || errno == unix.EPERM) {
			// A user may make groups in what is delegated to him, and still not move there
			// from where he is.
			p.clone.flags, p.clone.cgroup = p.clone.flags&^unix.CLONE_INTO_CGROUP, 0
			pid, errno = fork(p)
		}
		runtime.KeepAlive(p)
		if errno != 0 {
			return fmt.Errorf("clone process for machine: %w", errno)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Nobody else waits for this child, so the pid cannot be another's by now.
	process, err := os.FindProcess(int(pid))
	if err != nil {
		return nil, fmt.Errorf("find cloned process %d: %w", pid, err)
	}
	return process, nil
}

// follow returns the process that goes on where the first one has cloned itself
// again, or the first one where that did not come to it. That one only makes
// calls that cannot wait for anybody.
func (p *plan) follow(first *os.Process, reports io.Reader) (*os.Process, error) {
	for {
		told := readFailure(reports)
		if told == nil {
			return first, nil
		}
		if told.step != stepMoved {
			p.early = told // by either of the two
			continue
		}
		if _, err := first.Wait(); err != nil {
			return nil, fmt.Errorf("wait for process on its way into machine: %w", err)
		}
		return os.FindProcess(int(told.errno))
	}
}

// The functions below run in the copy, or with signals blocked just before it
// comes to be. The copy has one thread and a heap whose locks may be held by
// threads that it does not have: no allocation, no stack growth (nosplit), no
// race detector (norace), no call that is not a raw system call.

// fork clones the process with all signals blocked, so that no handler of the
// Go runtime ever runs in the copy.
//
//go:nosplit
//go:norace
func fork(p *plan) (uintptr, syscall.Errno) {
	all, old := ^uint64(0), uint64(0)
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0); errno != 0 {
		return 0, errno
	}
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.clone)), cloneArgsSize, 0)
	if errno == 0 && pid == 0 {
		become(p)
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid, errno
}

// become turns the copy into the command. It does not return.
//
//go:nosplit
//go:norace
func become(p *plan) {
	message := failure{step: stepExec}
	message.step, message.errno = isolate(p)
	if message.errno == 0 {
		message.step, message.errno = enter(p)
	}
	if message.errno == 0 && p.errand != nil {
		message.step, message.errno = stepErrand, carryOut(p)
	}
	if message.errno == 0 {
		message.step, message.errno = execute(p)
	}
	out := [2]uint32{uint32(message.step), uint32(message.errno)}
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, p.fds[fdReport], uintptr(unsafe.Pointer(&out)), 8)
	leave(127)
}

// leave ends the copy. A filter of system calls may have the call return as if it
// were done; the copy would go on then, in code that is not meant for it. A fault
// needs no call: nobody in the copy handles its signal.
//
//go:nosplit
//go:norace
func leave(status uintptr) {
	_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
	var nowhere *byte
	*nowhere = 0
}
