package nsenter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/fixtures/guest/guesttest"
)

// hostile names the root directory of a leader whose filters have calls that set
// ids, capabilities and keyrings do nothing, and say that all is well.
const hostile = "BERTH_TEST_HOSTILE"

// faked are those calls. The last one is known by its answer.
var faked = []int{
	unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET, unix.SYS_PRCTL, unix.SYS_KEYCTL,
	unix.SYS_RT_SIGPROCMASK, unix.SYS_UMASK, unix.SYS_CHDIR, unix.SYS_GETPRIORITY,
}

// actHostile is the life of that leader, which becomes a program of the guest.
func actHostile(tree string) int {
	runtime.LockOSThread()
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("proc", tree+"/proc", "proc", 0, "")
	}
	if err == nil {
		err = unix.Chroot(tree)
	}
	if err == nil {
		err = unix.Chdir("/")
	}
	if err == nil {
		err = fake(faked)
	}
	if err == nil {
		err = unix.Exec("/bin/sh", []string{"sh", "-c", "echo there; while :; do sleep 1000; done"}, []string{"PATH=/bin"})
	}
	fmt.Println(err)
	return 1
}

// fake filters the calls of this thread.
func fake(calls []int) error {
	const allow, done = 0x7fff0000, 0x00050000                                   // SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with no error
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for i, call := range calls {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(call), Jt: uint8(len(calls) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: allow}, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: done})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("no filter: %w", errno)
	}
	return nil
}

// hostileLeader starts a leader without a user namespace: root in it is the host's.
func hostileLeader(t *testing.T) Target {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "/proc/self/exe")
	cmd.Env = append(os.Environ(), hostile+"="+guesttest.Minimal(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWIPC | syscall.CLONE_NEWNS}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	switch {
	case strings.HasPrefix(line, "no filter"):
		t.Skip("NOT TESTED: needs seccomp: ", line)
	case line != "there\n":
		t.Fatalf("leader says %q, %v", line, err)
	}
	return open(t, cmd.Process.Pid)
}

// The owner of a machine that shares the users of the host does not get root of it
// by filters that keep a command from giving that up.
func TestFiltersApplyAfterTheIDs(t *testing.T) {
	target := hostileLeader(t)
	got := output(t, target, Spec{
		Argv: []string{"sh", "-c", "grep -E '^(Uid|Gid|Groups|Cap[IPEA]|Seccomp):*' /proc/self/status; id -u"}, User: "alice",
	})
	for _, want := range []string{"Uid:\t1000\t1000\t1000\t1000\n", "Gid:\t1000\t1000\t1000\t1000\n", "Groups:\t50 100 \n", "Seccomp:\t2\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if name, value, _ := strings.Cut(line, ":"); strings.HasPrefix(name, "Cap") && strings.Trim(value, "\t\n0") != "" {
			t.Errorf("a capability is left: %s", line)
		}
	}
}

// Each of many commands at a time is filtered as the leader is, which has one
// tracer at most.
func TestFiltersOfCommandsAtOnce(t *testing.T) {
	target := hostileLeader(t)
	const n = 16
	errs := make(chan error, n)
	for range n {
		s := newStreams(t, "")
		go func() {
			result, err := Exec(t.Context(), target, s.of(Spec{Argv: []string{"grep", "^Seccomp", "/proc/self/status"}}))
			if err == nil && result.ExitCode != 0 {
				err = fmt.Errorf("%+v", result)
			}
			if text := read(t, s.out); err == nil && !strings.HasPrefix(text, "Seccomp:\t2\n") {
				err = errors.New("not filtered: " + text)
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	// It has gone on, and has no tracer.
	if text, err := os.ReadFile(procPath(target.PID, "status")); err != nil || !strings.Contains(string(text), "TracerPid:\t0\n") ||
		strings.Contains(string(text), "State:\tt") {
		t.Errorf("the leader afterwards: %v\n%s", err, text)
	}
}

// A leader that somebody else traces for good cannot be looked at: no command runs
// without its filters.
func TestFiltersThatCannotBeHad(t *testing.T) {
	target := hostileLeader(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := onThread(func() error {
		if err := target.ptrace(unix.PTRACE_SEIZE, 0); err != nil {
			return err
		}
		cancelled := make(chan error, 1)
		go func() {
			_, err := target.filters(ctx, status{seccomp: 2})
			cancelled <- err
		}()
		cancel()
		return <-cancelled
	})
	if !errors.Is(err, ErrFilters) {
		t.Errorf("error %v", err)
	}
}

// A machine of nspawn, which filters too.
func TestFiltersOfNspawn(t *testing.T) {
	target := boot(t, "berth-filters", guesttest.Minimal(t))
	leader, err := os.ReadFile(procPath(target.PID, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"root", "alice"} {
		got := output(t, target, Spec{Argv: []string{"grep", "^Seccomp", "/proc/self/status"}, User: user})
		for line := range strings.Lines(got) {
			if !strings.Contains(string(leader), line) {
				t.Errorf("%s has %q, which the leader has not", user, line)
			}
		}
	}
}

// careless is set for a process with all that a command must not have of it.
const careless = "BERTH_TEST_CARELESS"

// TestExecLeavesNothing runs a command from a process that has been careless with
// everything that programs inherit, in a machine that has it otherwise.
func TestExecLeavesNothing(t *testing.T) {
	if leader := os.Getenv(careless); leader != "" {
		beCareless(t, leader)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	machine := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sleep", "1000")
	machine.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWIPC}
	if err := machine.Start(); err != nil {
		t.Fatal(err)
	}
	defer machine.Wait()         //nolint:errcheck // it was killed
	defer machine.Process.Kill() //nolint:errcheck // Wait tells
	core := unix.Rlimit{Cur: 4096, Max: 8192}
	if err := unix.Prlimit(machine.Process.Pid, unix.RLIMIT_CORE, &core, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(procPath(machine.Process.Pid, "oom_score_adj"), []byte("321"), 0); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 1)
	var out []byte
	go func() {
		// The keyring of a session is a thread's, until that starts a program.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ring, err := unix.KeyctlJoinSessionKeyring("berth-test")
		if err == nil {
			err = unix.KeyctlSetperm(ring, 0x3f000000) // only who possesses it sees it
		}
		if err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			errs <- err
			return
		}
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^TestExecLeavesNothing$")
		cmd.Env = append(os.Environ(), careless+"="+strconv.Itoa(machine.Process.Pid), "SECRET=1")
		cmd.ExtraFiles = []*os.File{os.Stderr, os.Stderr}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Groups: []uint32{4242}},
			AmbientCaps: []uintptr{unix.CAP_NET_RAW},
		}
		out, err = cmd.CombinedOutput()
		errs <- err
	}()
	if err := <-errs; err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func beCareless(t *testing.T, leader string) {
	pid, err := strconv.Atoi(leader)
	if err != nil {
		t.Fatal(err)
	}
	unix.Umask(0)
	signal.Ignore(syscall.SIGHUP)
	if err := errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1 << 20}),
		os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0),
	); err != nil {
		t.Fatal(err)
	}
	const script = `exec 2>&1
		echo "umask $(umask)"; echo "core $(ulimit -Sc) $(ulimit -Hc)"; echo "files $(ulimit -Sn)"
		echo "oom $(cat /proc/$$/oom_score_adj)"; echo "secret $SECRET"
		echo "keyring $(grep -c berth-test /proc/keys 2>/dev/null)"
		echo fds; ls -1 /proc/$$/fd; echo .
		echo "tty $(cut -d' ' -f7 /proc/$$/stat)"; test "$(cut -d' ' -f6 /proc/$$/stat)" = $$ && echo "own session"
		grep -E '^(Groups|Cap(Inh|Amb)|SigIgn):' /proc/$$/status`
	got := output(t, open(t, pid), Spec{Argv: []string{"/bin/sh", "-c", script}, Dir: "/"})
	// A shell would unblock signals.
	got += output(t, open(t, pid), Spec{Argv: []string{"grep", "^SigBlk", "/proc/self/status"}, Dir: "/"})
	const block = 512 // sh counts cores in these
	for _, want := range []string{
		"umask 0022\n", fmt.Sprintf("core %d %d\n", 4096/block, 8192/block), "files 1024\n", "oom 321\n", "secret \n", "keyring 0\n",
		"fds\n0\n1\n2\n.\n", "tty 0\n", "own session\n", "Groups:\t \n",
		"CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
