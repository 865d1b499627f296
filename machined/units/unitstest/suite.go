package unitstest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/machined"
)

// patience is how long the suite waits for what must happen; it is never
// reached by a backend that works.
const patience = 20 * time.Second

// grace is long enough that a test would notice if a backend waited for it
// although everything has ended.
const grace = 10 * time.Minute

// Run runs the suite. open makes a backend with no units and closes it, and
// removes what it made, by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) machined.Units) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, machined.Units)
	}{
		{"ScopeHoldsLeaderAndChildren", scopeHoldsLeaderAndChildren},
		{"ScopeOfAMember", scopeOfAMember},
		{"ScopeOfADeadLeader", scopeOfADeadLeader},
		{"ScopeReplacesLeftovers", scopeReplacesLeftovers},
		{"ServiceGetsWhatWasAsked", serviceGetsWhatWasAsked},
		{"ServiceThatCannotStart", serviceThatCannotStart},
		{"ServiceThatEndsAtOnce", serviceThatEndsAtOnce},
		{"StopAsksFirst", stopAsksFirst},
		{"StopEscalates", stopEscalates},
		{"StopEndsWithItsUnit", stopEndsWithItsUnit},
		{"StopGivesUpWithContext", stopGivesUpWithContext},
		{"UnknownUnit", unknownUnit},
		{"UnitOfNobody", unitOfNobody},
		{"WatchCancelled", watchCancelled},
		{"ManyAtOnce", manyAtOnce},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// shell starts a shell outside of every unit that runs script and has written
// its first line. It is killed and reaped in the end.
func shell(t *testing.T, script string) (*machined.Process, string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // its status is of no interest: it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p, err := machined.OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, strings.TrimSpace(line)
}

const idle = "echo ready; exec sleep 1000"

func waitEnd(t *testing.T, p *machined.Process) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(p.PIDFD().Fd()), Events: unix.POLLIN}}
	deadline := time.Now().Add(patience)
	for {
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			t.Fatalf("process %d does not end (%v)", p.PID, err)
		}
		return
	}
}

func startScope(t *testing.T, units machined.Units, name string, leader *machined.Process) machined.Unit {
	t.Helper()
	unit, err := units.StartScope(t.Context(), machined.Scope{Unit: name, Description: "test", Leader: leader})
	if err != nil {
		t.Fatal(err)
	}
	if unit.Name != name || unit.Subgroup != "" {
		t.Fatalf("StartScope = %+v", unit)
	}
	return unit
}

func wantUnit(t *testing.T, units machined.Units, pid int, want machined.Unit) {
	t.Helper()
	if got, err := units.UnitOf(t.Context(), pid); err != nil || got != want {
		t.Fatalf("UnitOf(%d) = %+v, %v; want %+v", pid, got, err, want)
	}
}

// ended watches for the ends of units; the channel gets their names.
func ended(t *testing.T, units machined.Units) <-chan string {
	t.Helper()
	names := make(chan string, 64)
	t.Cleanup(units.Watch(func(name string) { names <- name }))
	return names
}

func wantEnded(t *testing.T, names <-chan string, want string) {
	t.Helper()
	select {
	case got := <-names:
		if got != want {
			t.Fatalf("unit %s ended, want %s", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("nobody tells that %s ended", want)
	}
}

func service(name, script string, files ...*os.File) machined.Service {
	return machined.Service{
		Unit: name, Description: "test", Path: "/bin/sh", Args: []string{"machine", "-c", script, "zero", "one"},
		Env: []string{"PATH=/usr/bin:/bin", "GREETING=hello"}, Files: files,
	}
}

func startService(t *testing.T, units machined.Units, s machined.Service) *machined.Process {
	t.Helper()
	p, err := units.StartService(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL) // it may have ended
		waitEnd(t, p)
		_, _ = p.ExitStatus() // reaps it if the test did not
		_ = p.Close()
	})
	return p
}

func wantStatus(t *testing.T, p *machined.Process, want machined.ExitStatus) {
	t.Helper()
	waitEnd(t, p)
	if got, err := p.ExitStatus(); err != nil || got != want {
		t.Fatalf("ExitStatus = %v, %v; want %v", got, err, want)
	}
}

func wantCause(t *testing.T, ctx context.Context, err error) {
	t.Helper()
	if !errors.Is(err, context.Cause(ctx)) || err == nil {
		t.Fatalf("error %v, want %v", err, context.Cause(ctx))
	}
}

func scopeName(t *testing.T) string {
	t.Helper()
	return machined.ScopeName(fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid()))
}

// serviceName ends as the names of services must where a service manager makes
// them.
func serviceName(t *testing.T) string {
	t.Helper()
	return strings.TrimSuffix(scopeName(t), ".scope") + ".service"
}
