package machined

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// root is the caller of most tests.
func root() Caller { return Caller{UID: 0, PID: os.Getpid()} }

// plainUser is a caller who is not this test's user.
const plainUser = 4711

// logTo writes a Manager's log into the test's.
func logTo(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testConfig is of a manager that owns nothing on the machine. Sockets need a
// short path, which t.TempDir does not promise.
func testConfig(t testing.TB) Config {
	t.Helper()
	run, err := os.MkdirTemp("/tmp", "berth-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	return Config{
		StateDir: filepath.Join(dir, "machines"), RunDir: run, LogDir: filepath.Join(dir, "log"),
		StopGrace: 10 * time.Minute, Logger: logTo(t),
	}
}

func testManager(t testing.TB, config Config) *Manager {
	t.Helper()
	m, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// register registers the process as a container, on behalf of root, which is no
// supervisor.
func register(t testing.TB, m *Manager, name string, leader *Process) Machine {
	t.Helper()
	r := validRegistration()
	r.Name, r.Leader.ProcessID = name, leader.ProcessID
	machine, err := m.Register(t.Context(), root(), r)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

// record subscribes to the events of a manager.
func record(t testing.TB) (events chan Event, subscribe func(Event)) {
	t.Helper()
	events = make(chan Event, 10000)
	return events, func(e Event) { events <- e }
}

func wantEvent(t testing.TB, events <-chan Event, want Event) {
	t.Helper()
	select {
	case got := <-events:
		if got != want {
			t.Fatalf("event %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no event, want %v", want)
	}
}

func noEvent(t testing.TB, events <-chan Event) {
	t.Helper()
	select {
	case got := <-events:
		t.Fatalf("event %v, want none", got)
	default:
	}
}

// shell starts a shell and waits until its script has written a line.
func shell(t testing.TB, script string) *Process {
	t.Helper()
	return shellIn(t, script, nil)
}

func shellIn(t testing.TB, script string, attr *syscall.SysProcAttr) *Process {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = attr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	p, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// obey is a script that ends at SIGTERM, defy one that does not.
const (
	obey = "echo ready; exec sleep 1000"
	defy = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
)

func killed(t testing.TB, p *Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, p)
}

func readState(t testing.TB, m *Manager, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.config.StateDir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

func wantLine(t testing.TB, text, line string) {
	t.Helper()
	if !strings.Contains("\n"+text, "\n"+line+"\n") {
		t.Errorf("no line %q in\n%s", line, text)
	}
}
