package nsenter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filtered names the socket that a process of the tests connects to, under a
// filter of system calls that has execve and exit_group do nothing.
const filtered = "BERTH_TEST_FILTERED"

// exitAllowed is the only status that the filter lets a process end with.
const exitAllowed = 99

// actFiltered is the life of that process.
func actFiltered(socket string) int {
	self, err := Open(os.Getpid())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	// The first use of a process has package os look, with one that exits at once,
	// what the kernel can do.
	if _, err := os.FindProcess(os.Getpid()); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := fakeCalls(); err != nil {
		fmt.Println(err)
		return exitAllowed
	}
	ctx := context.Background()
	_, err = Exec(ctx, self, Spec{Argv: []string{"/bin/true"}, Dir: "/"})
	fmt.Println("exec:", err, errors.Is(err, ErrNotExecutable))
	_, err = self.Connect(ctx, socket)
	fmt.Println("connect:", err)
	return exitAllowed
}

// fakeCalls has the kernel answer the two calls with success, on all threads, and
// do nothing; see seccomp(2).
func fakeCalls() error {
	const number, argument0 = 0, 16 // struct seccomp_data, an argument's lower half on little endian hosts
	load := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: k}
	}
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	const allow, fake = 0x7fff0000, 0x00050000 // SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with no error
	filter := []unix.SockFilter{
		load(number),
		equal(uint32(unix.SYS_EXECVE), 4, 0),
		equal(uint32(unix.SYS_EXIT_GROUP), 0, 2),
		load(argument0),
		equal(exitAllowed, 0, 1),
		ret(allow),
		ret(fake),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("no filter: %w", errno)
	}
	return nil
}

// A copy of the process that can neither become the command nor exit ends all the
// same, and does not keep a processor busy for ever.
func TestCopyUnderAFilterThatFakes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), filtered+"="+socket)
	// It could not even end by itself if it failed. The signal is sent when this
	// thread ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if strings.HasPrefix(string(out), "no filter") {
		t.Skipf("NOT TESTED: needs seccomp: %s", out)
	}
	text := string(out)
	if cmd.ProcessState.ExitCode() != exitAllowed || !strings.Contains(text, "true\n") ||
		!strings.Contains(text, fmt.Sprintf("signal %d\n", unix.SIGSEGV)) {
		t.Errorf("%v: %s", err, text)
	}
}
