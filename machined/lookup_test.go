package machined

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Without units only the way up through the parents is left.
func TestFindByPIDClimbs(t *testing.T) {
	m := testManager(t, testConfig(t))
	cmd := exec.Command("/bin/sh", "-c", "sh -c 'echo $$; read x'; true")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait() // read finds the end of its input, which is status 1
	}()
	line := make([]byte, 20)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	child, err := parsePID(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	leader, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = leader.Close() }()
	register(t, m, "foo", leader)
	for _, pid := range []int{leader.PID, child} {
		if got, err := m.FindByPID(t.Context(), pid); err != nil || got.Name != "foo" {
			t.Errorf("FindByPID(%d) = %q, %v", pid, got.Name, err)
		}
	}
	for _, ref := range []ProcessRef{{ProcessID: leader.ProcessID}, {PIDFD: leader.PIDFD()}} {
		if got, err := m.FindByProcess(t.Context(), ref); err != nil || got.Name != "foo" {
			t.Errorf("FindByProcess(%+v) = %q, %v", ref, got.Name, err)
		}
	}
	other := leader.ProcessID
	other.PIDFDID++ // an earlier process of that PID
	for _, id := range []ProcessID{{}, {PID: 1}, {PID: os.Getpid()}, other} {
		if got, err := m.FindByProcess(t.Context(), ProcessRef{ProcessID: id}); !errors.Is(err, ErrNoMachineForPID) {
			t.Errorf("FindByProcess(%+v) = %q, %v", id, got.Name, err)
		}
	}
}
