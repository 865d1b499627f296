package machined

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper is a child that sleeps until it is killed, and its handle.
func sleeper(t testing.TB) *Process {
	t.Helper()
	p, _ := command(t, "/bin/sleep", "1000")
	return p
}

// command starts a child; the returned function kills and reaps it, which also
// happens when the test ends.
func command(t testing.TB, argv ...string) (*Process, func()) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := false
	end := func() {
		if !done {
			done = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // its status is of no interest: it was killed
		}
	}
	t.Cleanup(end)
	p, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, end
}

const patience = time.Minute

func waitEnd(t testing.TB, p *Process) {
	t.Helper()
	if n, err := poll(int(p.fd.Fd()), int(patience.Milliseconds())); n != 1 || err != nil {
		t.Fatalf("process %d does not end (%v)", p.PID, err)
	}
}

func TestProcessIdentity(t *testing.T) {
	p, end := command(t, "/bin/sleep", "1000")
	if !p.Alive() {
		t.Error("a living process counts as dead")
	}
	if p.PIDFDID == 0 {
		t.Error("no pidfd inode number on a kernel with pidfs")
	}
	same, err := OpenPIDFD(p.PIDFD())
	if err != nil || same.ProcessID != p.ProcessID {
		t.Fatalf("OpenPIDFD = %+v, %v", same, err)
	}
	defer func() { _ = same.Close() }()
	other := ProcessID{PID: p.PID, PIDFDID: p.PIDFDID + 1}
	if _, err := other.reopen(); !errors.Is(err, ErrNoSuchProcess) {
		t.Errorf("reopen of a recycled PID: %v", err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, p)
	if p.Alive() {
		t.Error("a zombie counts as alive")
	}
	end()
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrNoSuchProcess) {
		t.Errorf("Signal: %v", err)
	}
	if _, err := OpenPIDFD(p.PIDFD()); !errors.Is(err, ErrNoSuchProcess) {
		t.Errorf("OpenPIDFD: %v", err)
	}
	if _, err := p.reopen(); !errors.Is(err, ErrNoSuchProcess) {
		t.Errorf("reopen: %v", err)
	}
}

func TestOpenProcessRefuses(t *testing.T) {
	for _, pid := range []int{-1, 0, 1 << 30} {
		if _, err := OpenProcess(pid); !errors.Is(err, ErrNoSuchProcess) {
			t.Errorf("OpenProcess(%d): %v", pid, err)
		}
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if _, err := OpenPIDFD(null); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("OpenPIDFD(/dev/null): %v", err)
	}
}

func TestExitStatusOfAChild(t *testing.T) {
	p, err := StartProcess(Service{Path: "/bin/sh", Args: []string{"sh", "-c", "read x; exit 133"}}, syscall.SysProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	waitEnd(t, p)
	if got, err := p.ExitStatus(); err != nil || got != (ExitStatus{Code: 133, Known: true}) {
		t.Errorf("ExitStatus = %v, %v", got, err)
	}
	if err := unix.Kill(p.PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the child is still there: %v", err)
	}
}

func TestExitStatusOfAStranger(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "read x; exit 133")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // exit status 133 is what is looked at below
	got, err := p.ExitStatus()
	if err != nil || got != (ExitStatus{Code: 133, Known: true}) && got.Known {
		t.Errorf("ExitStatus = %v, %v", got, err)
	}
	if !got.Known {
		t.Log("this kernel keeps no exit status in pidfds")
	}
}
