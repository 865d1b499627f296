package machined_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/machined"
	"berth/machined/runner"
)

// breakStart leaves what a daemon leaves that is killed in a start: a runner, with
// nobody to listen to it, and the note of it.
func (l *launcher) breakStart(t *testing.T, units machined.Units, noted func(machined.ProcessID) machined.ProcessID) *machined.Process {
	t.Helper()
	image, err := l.Image(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	command, err := l.config.Runner.Command(runner.Spec{Machine: "foo", Directory: image.Path})
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(l.config.LogDir, "foo.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p, err := units.StartService(t.Context(), machined.Service{
		Unit: machined.ScopeName("foo"), Path: command.Argv[0], Args: command.Argv,
		Env: append(command.Env, "NOTIFY_SOCKET="+filepath.Join(l.config.RunDir, "absent")), Files: []*os.File{log, log, log},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL) // it should have ended
		_ = p.Close()
	})
	// In life the runner's new parent, process 1, reaps it.
	go func() {
		for {
			if _, err := unix.Wait4(p.PID, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	text, err := json.Marshal(noted(p.ProcessID))
	if err != nil {
		t.Fatal(err)
	}
	starts := filepath.Join(l.config.RunDir, "starts")
	if err := errors.Join(os.MkdirAll(starts, 0o700), os.WriteFile(filepath.Join(starts, "foo"), text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return p
}

func asItIs(id machined.ProcessID) machined.ProcessID { return id }

// noStarts waits until no start is noted any more.
func (l *launcher) noStarts(t *testing.T) {
	t.Helper()
	await.Until(t, patience, "the note to go", func() bool {
		starts, err := os.ReadDir(filepath.Join(l.config.RunDir, "starts"))
		return err == nil && len(starts) == 0
	})
}

// What the runner said of its leader was lost with the daemon.
func TestBrokenStartGoesOn(t *testing.T) {
	units := cgroups(t)
	l := newLauncher(t, units, "boot", guest)
	p := l.breakStart(t, units, asItIs)
	l.awaitOutput(t, "guest is up")
	l.open(t)
	l.isNew(t)
	m, err := l.Find("foo")
	if err != nil || m.Supervisor != p.ProcessID || m.Leader.PID == 0 || m.Unit != machined.ScopeName("foo") {
		t.Errorf("machine %+v, %v", m, err)
	}
	l.noStarts(t)
	// It is a machine like any other: it may reboot.
	l.kill(t, machined.KillLeader, syscall.SIGUSR1)
	l.isRemoved(t)
	l.isNew(t)
	l.awaitOutput(t, "guest is up")
	second, err := l.Find("foo")
	if err != nil || second.Leader == m.Leader {
		t.Errorf("after reboot %+v, %v", second, err)
	}
	l.kill(t, machined.KillLeader, syscall.SIGUSR2)
	l.isRemoved(t)
	l.isOver(t, second)
}

// A start that cannot go on leaves nothing, and the name is free.
func TestBrokenStartIsCleanedUp(t *testing.T) {
	for what, noted := range map[string]func(machined.ProcessID) machined.ProcessID{
		"not noted yet": func(machined.ProcessID) machined.ProcessID { return machined.ProcessID{} },
		"another one":   func(id machined.ProcessID) machined.ProcessID { return machined.ProcessID{PID: id.PID, PIDFDID: 1} },
	} {
		t.Run(what, func(t *testing.T) {
			units := cgroups(t)
			l := newLauncher(t, units, "boot", guest)
			p := l.breakStart(t, units, noted)
			l.awaitOutput(t, "guest is up")
			l.open(t)
			m := l.start(t) // waits for the rest of the other one
			if p.Alive() || m.Supervisor == p.ProcessID {
				t.Errorf("process %d goes on, machine %+v", p.PID, m)
			}
			l.noStarts(t)
			l.kill(t, machined.KillLeader, syscall.SIGKILL)
			l.isRemoved(t)
			l.isOver(t, m)
		})
	}
}

// A broken start of a machine that never comes up can be ended as any other.
func TestBrokenStartIsTerminated(t *testing.T) {
	units := cgroups(t)
	l := newLauncher(t, units, "hang", "")
	p := l.breakStart(t, units, asItIs)
	l.awaitOutput(t, "hanging")
	l.open(t)
	if _, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"}); !errors.Is(err, machined.ErrMachineExists) {
		t.Errorf("start of what is being started: %v", err)
	}
	if err := l.Terminate(t.Context(), "foo"); err != nil {
		t.Error(err)
	}
	await.Until(t, patience, "the runner to end", func() bool { return !p.Alive() })
	l.noStarts(t)
}
