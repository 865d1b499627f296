package nsenter

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rules stated above fork hold for everything in this file.

// sigaction is the kernel's, not the C library's, struct.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// lastSignal is the kernel's _NSIG.
const lastSignal = 64

// isolate cuts what ties the copy to the host's process.
//
//go:nosplit
//go:norace
func isolate(p *plan) (step, syscall.Errno) {
	var byDefault sigaction
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		if sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue
		}
		if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0); errno != 0 {
			return stepSignals, errno
		}
	}
	// Nobody in the guest may attach to a copy of the host's memory.
	if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0); errno != 0 {
		return stepPrivileges, errno
	}
	if step, errno := keepDescriptors(p); errno != 0 {
		return step, errno
	}
	takeOver(p)
	// The caller's groups are numbers of the host; gone before they could mean
	// something in the guest.
	if !p.plain {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return stepPrivileges, errno
		}
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 {
		return stepPrivileges, errno
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if _, _, errno := syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&p.caps)), 0); errno != 0 {
		return stepPrivileges, errno
	}
	return 0, 0
}

// takeOver sets what the command has of the leader. Some of it only the host's root
// may set; then it stays as weak as the caller's.
//
//go:nosplit
//go:norace
func takeOver(p *plan) {
	if p.errand != nil {
		return
	}
	here := unix.AT_FDCWD
	fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(here), uintptr(unsafe.Pointer(p.oomFile)), unix.O_WRONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno == 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p.oomScore[0])), uintptr(len(p.oomScore)))
		_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
	for i := range p.limits {
		_, _, _ = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(i), uintptr(unsafe.Pointer(&p.limits[i])), 0, 0, 0)
	}
}

// keepDescriptors puts the descriptors of the plan into the places where the
// rest of the copy expects them and closes all others.
//
//go:nosplit
//go:norace
func keepDescriptors(p *plan) (step, syscall.Errno) {
	// Out of the way first: one may be where another one belongs.
	for i := range p.fds {
		fd, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, p.fds[i], unix.F_DUPFD_CLOEXEC, fdCount)
		if errno != 0 {
			return stepDescriptors, errno
		}
		p.fds[i] = fd
	}
	for i := range p.fds {
		flags := uintptr(unix.O_CLOEXEC)
		if i <= fdStderr {
			flags = 0
		}
		if _, _, errno := syscall.RawSyscall(unix.SYS_DUP3, p.fds[i], uintptr(i), flags); errno != 0 {
			return stepDescriptors, errno
		}
	}
	p.fds[fdReport] = fdReport
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, fdCount, uintptr(^uint32(0)), 0); errno != 0 {
		return stepDescriptors, errno
	}
	return 0, 0
}

// enter joins the machine. Root joins the user namespace last but for the ids:
// until then the host's privileges are needed to join namespaces that the host
// made.
//
//go:nosplit
//go:norace
func enter(p *plan) (step, syscall.Errno) {
	if p.first != 0 {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETNS, fdPIDFD, p.first, 0); errno != 0 {
			return stepNamespaces, errno
		}
	}
	if p.second {
		if step, errno := cloneAgain(p); errno != 0 {
			return step, errno
		}
	}
	// Only the process that goes on: it has to lead its session and group.
	if step, errno := lead(p); errno != 0 {
		return step, errno
	}
	if p.root {
		if _, _, errno := syscall.RawSyscall(unix.SYS_FCHDIR, fdRoot, 0, 0); errno != 0 {
			return stepRoot, errno
		}
		here := [2]byte{'.', 0}
		if _, _, errno := syscall.RawSyscall(unix.SYS_CHROOT, uintptr(unsafe.Pointer(&here)), 0, 0); errno != 0 {
			return stepRoot, errno
		}
	}
	if p.user {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETNS, fdPIDFD, unix.CLONE_NEWUSER, 0); errno != 0 {
			return stepUserNamespace, errno
		}
	}
	// After the user namespace, which begins with a full bounding set.
	for _, capability := range p.drop {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, capability, 0, 0, 0, 0); errno != 0 {
			return stepBounding, errno
		}
	}
	if p.noNew {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
			return stepBounding, errno
		}
	}
	return beRoot(p)
}

// cloneAgain has the rest done by a child of the caller's that is in the pid
// namespace which this process has joined for its children.
//
//go:nosplit
//go:norace
func cloneAgain(p *plan) (step, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.again)), cloneArgsSize, 0)
	if errno != 0 {
		return stepAgain, errno
	}
	if pid == 0 {
		return 0, 0
	}
	out := [2]uint32{uint32(stepMoved), uint32(pid)}
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, fdReport, uintptr(unsafe.Pointer(&out)), 8)
	leave(0)
	return 0, 0
}

// lead makes a session, with the terminal of the command if it has one.
//
//go:nosplit
//go:norace
func lead(p *plan) (step, syscall.Errno) {
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		return stepSession, errno
	}
	if p.terminal {
		if _, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0); errno != 0 {
			return stepSession, errno
		}
	}
	return 0, 0
}

// beRoot becomes the guest's root, who may become anybody else: only a change
// from that uid to another makes the kernel take the capabilities away, the
// host's root does not count.
//
//go:nosplit
//go:norace
func beRoot(p *plan) (step, syscall.Errno) {
	if !p.become {
		return 0, 0
	}
	if p.plain && p.regroup {
		// Not possible before; see isolate.
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return stepIDs, errno
		}
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); errno != 0 {
		return stepIDs, errno
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno != 0 {
		return stepIDs, errno
	}
	return 0, 0
}

// execute becomes the user and then the program.
//
//go:nosplit
//go:norace
func execute(p *plan) (step, syscall.Errno) {
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESGID, p.gid, p.gid, p.gid); errno != 0 {
		return stepIDs, errno
	}
	if len(p.groups) > 0 && p.regroup {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(p.groups)), uintptr(unsafe.Pointer(&p.groups[0])), 0); errno != 0 {
			return stepIDs, errno
		}
	}
	if step, errno := beUser(p); errno != 0 {
		return step, errno
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_UMASK, 0o022, 0, 0)
	_, _, errno := syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(p.dir)), 0, 0)
	if errno != 0 && p.dirOrTop {
		top := [2]byte{'/', 0}
		_, _, errno = syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(&top)), 0, 0)
	}
	if errno != 0 {
		return stepDir, errno
	}
	// A keyring of its own, not the daemon's. Where keyctl is not to be had
	// (EPERM: a seccomp filter), the keyring is not to be had either.
	if _, _, errno := syscall.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); errno != 0 && errno != unix.ENOSYS && errno != unix.EPERM {
		return stepKeyring, errno
	}
	none := uint64(0)
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0); errno != 0 {
		return stepSignals, errno
	}
	// Last of all: what the machine's filters do to calls is the machine's choice, and
	// one that is skipped, or done as if it had been, must not matter any more.
	for i := range p.filters {
		if _, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p.filters[i]))); errno != 0 {
			return stepFilters, errno
		}
	}
	return stepExec, search(p)
}

// beUser becomes the user, who keeps nothing of the root but what it takes to set
// filters, and that only up to execve.
//
//go:nosplit
//go:norace
func beUser(p *plan) (step, syscall.Errno) {
	keep := p.uid != 0 && len(p.filters) > 0 && !p.noNew
	if keep {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0, 0); errno != 0 {
			return stepIDs, errno
		}
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, p.uid, p.uid, p.uid); errno != 0 {
		return stepIDs, errno
	}
	if keep {
		admin := unix.CapUserData{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}
		caps := [2]unix.CapUserData{admin, {}}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if _, _, errno := syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&caps)), 0); errno != 0 {
			return stepIDs, errno
		}
	}
	return 0, 0
}

// search tries the places where the program may be, and returns the most
// telling of the errors: one from a file that is there beats "no such file".
//
//go:nosplit
//go:norace
func search(p *plan) syscall.Errno {
	told := unix.ENOENT
	for _, program := range p.programs {
		_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(program)), uintptr(unsafe.Pointer(&p.argv[0])), uintptr(unsafe.Pointer(&p.env[0])))
		switch errno {
		case unix.ENOENT, unix.ENOTDIR:
		case unix.EACCES:
			told = errno
		default:
			return errno
		}
	}
	return told
}
