package images_test

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// crashMark is the system call by which a child says that the operation under
// test begins: a read of the priority of a process that cannot exist.
const crashMark = 0x7ffffff1

// changing are the system calls by which a step changes what is on disk.
func changing() []uint64 {
	return []uint64{
		unix.SYS_MKDIR, unix.SYS_MKDIRAT, unix.SYS_OPENAT, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
		unix.SYS_UNLINK, unix.SYS_UNLINKAT, unix.SYS_RMDIR, unix.SYS_IOCTL, unix.SYS_FLOCK, unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
		unix.SYS_FCHOWN, unix.SYS_FSYNC, unix.SYS_SYNCFS, unix.SYS_FSETXATTR, unix.SYS_FTRUNCATE, unix.SYS_PWRITE64,
		unix.SYS_COPY_FILE_RANGE, unix.SYS_MKNODAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	}
}

// runAndKill runs this test binary and kills it with SIGKILL just before its nth
// system call that changes something. It reports false when it ended by
// itself before that, and fails the test when it then failed.
func runAndKill(t *testing.T, env []string, nth int, args ...string) (killed bool) {
	t.Helper()
	// All ptrace requests have to come from the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// No exec.Cmd: it would wait for the child too.
	child, err := os.StartProcess(os.Args[0], append([]string{os.Args[0]}, args...), &os.ProcAttr{
		Env: env, Files: []*os.File{nil, nil, os.Stderr}, Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true},
	})
	check(t, err)
	pid := child.Pid
	defer func() { check(t, child.Release()) }()
	tr := &tracer{t: t, pid: pid, left: nth, seen: map[int]bool{}}
	return tr.run()
}

type tracer struct {
	t      *testing.T
	pid    int
	left   int
	begun  bool
	killed bool
	inside map[int]bool // threads that are within a system call
	seen   map[int]bool
}

func (tr *tracer) run() bool {
	tr.inside = map[int]bool{}
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-tr.pid, &status, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ECHILD) {
			return tr.killed
		}
		check(tr.t, err)
		switch {
		case status.Exited() && tid == tr.pid && status.ExitStatus() != 0:
			tr.t.Errorf("the child ended with status %d", status.ExitStatus())
		case status.Stopped():
			tr.stopped(tid, status)
		}
	}
}

// stopped decides about one stop and lets the thread go on.
func (tr *tracer) stopped(tid int, status unix.WaitStatus) {
	signal := status.StopSignal()
	if !tr.seen[tid] {
		tr.seen[tid] = true
		if tid == tr.pid {
			check(tr.t, unix.PtraceSetOptions(tid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL))
		}
		signal = 0
	}
	if signal == unix.SIGTRAP|0x80 {
		signal = 0
		tr.inside[tid] = !tr.inside[tid]
		if tr.inside[tid] && tr.counts(tid) {
			tr.left--
			if tr.left == 0 {
				tr.killed = true
				check(tr.t, unix.Kill(tr.pid, unix.SIGKILL))
				return
			}
		}
	}
	if signal == unix.SIGTRAP || signal == unix.SIGSTOP {
		signal = 0
	}
	// A thread may be gone by now, with its process.
	if err := unix.PtraceSyscall(tid, int(signal)); err != nil && !errors.Is(err, unix.ESRCH) {
		tr.t.Error(err)
	}
}

// counts looks at the call that a thread is about to make.
func (tr *tracer) counts(tid int) bool {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false
	}
	if regs.Orig_rax == unix.SYS_GETPRIORITY && regs.Rsi == crashMark {
		tr.begun = true
	}
	return tr.begun && slices.Contains(changing(), regs.Orig_rax)
}
