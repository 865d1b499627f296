package machined_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/images"
	"berth/machined"
	"berth/machined/runner"
)

// testRunner is this test binary, see actAsRunner.
type testRunner struct{ mode string }

func (testRunner) Name() string { return "test-runner" }

func (r testRunner) Command(spec runner.Spec) (runner.Command, error) {
	self, err := os.Executable()
	return runner.Command{Argv: []string{self, spec.Directory}, Env: []string{"PATH=/usr/bin:/bin", "BERTH_TEST_RUNNER=" + r.mode, "GORACE=atexit_sleep_ms=0"}}, err
}

// guest is an init that does what signals ask for: SIGUSR1 reboots, SIGUSR2 and
// SIGTERM power off.
const guest = "trap 'exit 133' USR1; trap 'exit 0' USR2 TERM; echo guest is up; while :; do sleep 0.05; done\n"

// deaf never ends by itself.
const deaf = "trap '' USR1 USR2 TERM; echo guest is up; while :; do sleep 0.05; done\n"

// launcher is a Manager with a runner and one image, "foo".
type launcher struct {
	*machined.Manager
	config machined.Config
	events chan machined.Event
}

func newLauncher(t *testing.T, units machined.Units, mode, init string) *launcher {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root to make a PID namespace")
	}
	root := t.TempDir()
	tree := filepath.Join(root, "var/lib/machines/foo")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "init"), []byte(init), 0o755); err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/tmp", "berth-") // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	l := &launcher{events: make(chan machined.Event, 100)}
	l.config = machined.Config{
		StateDir: filepath.Join(root, "state"), RunDir: run, LogDir: filepath.Join(root, "log"), StopGrace: time.Hour,
		Units: units, Images: images.NewStore(images.SystemLocations(root)), Runner: testRunner{mode},
		Logger:  slog.New(slog.NewTextHandler(t.Output(), nil)),
		OnEvent: func(e machined.Event) { l.events <- e },
	}
	l.open(t)
	return l
}

func (l *launcher) open(t *testing.T) {
	t.Helper()
	m, err := machined.New(l.config)
	if err != nil {
		t.Fatal(err)
	}
	l.Manager = m
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (l *launcher) start(t *testing.T) machined.Machine {
	t.Helper()
	m, err := l.Start(t.Context(), machined.Caller{UID: plainUser}, machined.StartRequest{Name: "foo"})
	if err != nil {
		t.Fatal(err)
	}
	l.isNew(t)
	l.awaitOutput(t, "guest is up")
	return m
}

const plainUser = 4711

func (l *launcher) isNew(t *testing.T) {
	t.Helper()
	next(t, l.events, machined.Event{Kind: machined.EventNew, Name: "foo"})
}

func (l *launcher) isRemoved(t *testing.T) {
	t.Helper()
	next(t, l.events, machined.Event{Kind: machined.EventRemoved, Name: "foo"})
}

// awaitOutput waits until a text is the last line of the machine's log and then
// empties it. Signals before that would find an init without handlers.
func (l *launcher) awaitOutput(t *testing.T, want string) {
	t.Helper()
	path := filepath.Join(l.config.LogDir, "foo.log")
	await.Until(t, patience, "the last line to be "+want, func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.HasSuffix(string(text), want+"\n")
	})
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
}

func (l *launcher) kill(t *testing.T, whom machined.KillWhom, sig syscall.Signal) {
	t.Helper()
	if err := l.Kill(t.Context(), "foo", whom, sig); err != nil {
		t.Fatal(err)
	}
}

// isOver waits until the name is free again and nothing has been left.
func (l *launcher) isOver(t *testing.T, last machined.Machine) {
	t.Helper()
	await.Until(t, patience, "both processes to end", func() bool {
		return !processExists(last.Supervisor.PID) && !processExists(last.Leader.PID)
	})
	if entries, err := os.ReadDir(l.config.StateDir); err != nil || len(entries) != 0 {
		t.Errorf("state files left: %v, %v", entries, err)
	}
}

func processExists(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// everywhere runs a test with units and without.
func everywhere(t *testing.T, test func(t *testing.T, units machined.Units)) {
	backends(t, test)
	t.Run("none", func(t *testing.T) { test(t, nil) })
}

func TestStartAndPowerOff(t *testing.T) {
	everywhere(t, func(t *testing.T, units machined.Units) {
		l := newLauncher(t, units, "boot", guest)
		m := l.start(t)
		if m.Service != "test-runner" || m.Class != machined.ClassContainer || m.UID != uint32(os.Geteuid()) ||
			filepath.Base(m.RootDirectory) != "foo" || m.Supervisor.PID == 0 || m.Leader.PID == 0 {
			t.Errorf("machine %+v", m)
		}
		if units != nil && m.Unit != machined.ScopeName("foo") {
			t.Errorf("unit %q", m.Unit)
		}
		if _, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"}); !errors.Is(err, machined.ErrMachineExists) {
			t.Errorf("second Start: %v", err)
		}
		l.kill(t, machined.KillLeader, syscall.SIGUSR2)
		l.isRemoved(t)
		l.isOver(t, m)
	})
}

func TestReboot(t *testing.T) {
	everywhere(t, func(t *testing.T, units machined.Units) {
		l := newLauncher(t, units, "boot", guest)
		first := l.start(t)
		l.kill(t, machined.KillLeader, syscall.SIGUSR1)
		l.isRemoved(t)
		l.isNew(t)
		l.awaitOutput(t, "guest is up")
		second, err := l.Find("foo")
		if err != nil || second.Leader == first.Leader || second.Supervisor == first.Supervisor {
			t.Errorf("after reboot %+v, %v", second, err)
		}
		l.kill(t, machined.KillLeader, syscall.SIGUSR2)
		l.isRemoved(t)
		l.isOver(t, second)
	})
}

func TestTerminatedMachineDoesNotReboot(t *testing.T) {
	everywhere(t, func(t *testing.T, units machined.Units) {
		l := newLauncher(t, units, "boot", "trap 'exit 133' USR2; echo guest is up; while :; do sleep 0.05; done\n")
		m := l.start(t)
		if err := l.Terminate(t.Context(), "foo"); err != nil {
			t.Fatal(err)
		}
		l.isRemoved(t)
		l.isOver(t, m)
		// Start waits for the rest of the end, so it works at once.
		again := l.start(t)
		l.kill(t, machined.KillLeader, syscall.SIGKILL)
		l.isRemoved(t)
		l.isOver(t, again)
	})
}

func TestTerminateWhileStarting(t *testing.T) {
	l := newLauncher(t, cgroups(t), "boot", guest)
	slow := slowRunner{testRunner{"boot"}, make(chan struct{}), make(chan struct{})}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.config.Runner = slow
	l.open(t)
	started := make(chan error, 1)
	go func() {
		_, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"})
		started <- err
	}()
	<-slow.asked
	if err := l.Terminate(t.Context(), "foo"); err != nil {
		t.Error(err)
	}
	close(slow.goOn)
	if err := <-started; !errors.Is(err, machined.ErrStartFailed) || !strings.Contains(err.Error(), "terminated") {
		t.Error(err)
	}
	l.isOver(t, machined.Machine{Supervisor: machined.ProcessID{PID: 1 << 30}, Leader: machined.ProcessID{PID: 1 << 30}})
}

// Who started it may not be there to give up.
func TestTerminateAHangingStart(t *testing.T) {
	everywhere(t, func(t *testing.T, units machined.Units) {
		l := newLauncher(t, units, "hang", "")
		started := make(chan error, 1)
		go func() {
			_, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"})
			started <- err
		}()
		l.awaitOutput(t, "hanging")
		if err := l.Terminate(t.Context(), "foo"); err != nil {
			t.Error(err)
		}
		if err := <-started; !errors.Is(err, machined.ErrStartFailed) || !strings.Contains(err.Error(), "terminated") {
			t.Error(err)
		}
	})
}

// slowRunner tells when it is asked for a command and waits.
type slowRunner struct {
	testRunner
	asked, goOn chan struct{}
}

func (r slowRunner) Command(spec runner.Spec) (runner.Command, error) {
	close(r.asked)
	<-r.goOn
	return r.testRunner.Command(spec)
}

func TestTheGuestDiesWithItsRunner(t *testing.T) {
	everywhere(t, func(t *testing.T, units machined.Units) {
		l := newLauncher(t, units, "boot", deaf)
		m := l.start(t)
		l.kill(t, machined.KillSupervisor, syscall.SIGKILL)
		l.isRemoved(t)
		l.isOver(t, m)
	})
}

func TestMachineThatRebootsTooFast(t *testing.T) {
	l := newLauncher(t, cgroups(t), "boot", guest)
	l.start(t)
	const allowed = 4 // reboots within some seconds
	for range allowed {
		l.kill(t, machined.KillLeader, syscall.SIGUSR1)
		l.isRemoved(t)
		l.isNew(t)
		l.awaitOutput(t, "guest is up")
	}
	last, err := l.Find("foo")
	if err != nil {
		t.Fatal(err)
	}
	l.kill(t, machined.KillLeader, syscall.SIGUSR1)
	l.isRemoved(t)
	l.isOver(t, last)
	// It is given up: a start by hand works again.
	m := l.start(t)
	l.kill(t, machined.KillLeader, syscall.SIGUSR2)
	l.isRemoved(t)
	l.isOver(t, m)
}

func TestStartTellsWhyItFailed(t *testing.T) {
	everywhere(t, func(t *testing.T, units machined.Units) {
		for mode, want := range map[string]string{
			"fail":  "test-runner: exit status 1: first [31mline[0m; last line",
			"forge": "test-runner: exit status 3: it said nothing",
		} {
			l := newLauncher(t, units, mode, "")
			_, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"})
			if !errors.Is(err, machined.ErrStartFailed) || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: %v, want … %s", mode, err, want)
			}
			if list := l.List(); len(list) != 0 {
				t.Errorf("%s: machines %v", mode, list)
			}
			l.isOver(t, machined.Machine{Supervisor: machined.ProcessID{PID: 1 << 30}, Leader: machined.ProcessID{PID: 1 << 30}})
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestStartRefuses(t *testing.T) {
	l := newLauncher(t, nil, "boot", guest)
	for name, want := range map[string]error{"bar": images.ErrNotFound, "a_b": machined.ErrInvalidName, ".host": machined.ErrInvalidName} {
		if _, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: name}); !errors.Is(err, want) {
			t.Errorf("Start(%q): %v, want %v", name, err, want)
		}
	}
	l.config.Runner, l.config.OnEvent = nil, nil
	l.open(t)
	if _, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"}); !errors.Is(err, machined.ErrNoRunner) {
		t.Errorf("Start without runner: %v", err)
	}
}

func TestStartGivesUpWithItsCaller(t *testing.T) {
	everywhere(t, func(t *testing.T, units machined.Units) {
		l := newLauncher(t, units, "hang", "")
		ctx, cancel := context.WithCancelCause(t.Context())
		hungUp := errors.New("hung up")
		started := make(chan error, 1)
		go func() {
			_, err := l.Start(ctx, machined.Caller{}, machined.StartRequest{Name: "foo"})
			started <- err
		}()
		l.awaitOutput(t, "hanging")
		cancel(hungUp)
		if err := <-started; !errors.Is(err, hungUp) {
			t.Errorf("Start: %v", err)
		}
		image, err := l.Image(t.Context(), "foo")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(image.Path, "pid"))
		if err != nil {
			t.Fatal(err)
		}
		if pid, err := strconv.Atoi(string(text)); err != nil || processExists(pid) {
			t.Errorf("the runner %s is left, %v", text, err)
		}
	})
}

func TestRestartedDaemonStillReboots(t *testing.T) {
	l := newLauncher(t, cgroups(t), "boot", guest)
	first := l.start(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !processExists(first.Leader.PID) {
		t.Fatal("the machine ended with the daemon")
	}
	// In life the runner's new parent, process 1, reaps it.
	go func() {
		var status unix.WaitStatus
		for {
			if _, err := unix.Wait4(first.Supervisor.PID, &status, 0, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	l.open(t)
	if m, err := l.Find("foo"); err != nil || m.Leader != first.Leader || m.Supervisor != first.Supervisor || m.Unit != first.Unit {
		t.Errorf("restored %+v, %v; want %+v", m, err, first)
	}
	if _, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"}); !errors.Is(err, machined.ErrMachineExists) {
		t.Errorf("Start: %v", err)
	}
	l.kill(t, machined.KillLeader, syscall.SIGUSR1)
	l.isRemoved(t)
	l.isNew(t)
	l.awaitOutput(t, "guest is up")
	second, err := l.Find("foo")
	if err != nil || second.Leader == first.Leader {
		t.Errorf("after reboot %+v, %v", second, err)
	}
	if err := l.Terminate(t.Context(), "foo"); err != nil {
		t.Fatal(err)
	}
	l.isRemoved(t)
	l.isOver(t, second)
}

func TestLogStaysShort(t *testing.T) {
	burst := "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; "
	l := newLauncher(t, cgroups(t), "boot", "trap 'echo; echo late line' USR1; trap 'exit 0' USR2; "+burst+"echo guest is up; while :; do sleep 0.05; done")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.config.LogSize = 4096
	l.open(t)
	m, err := l.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"})
	if err != nil {
		t.Fatal(err)
	}
	l.isNew(t)
	path := filepath.Join(l.config.LogDir, "foo.log")
	// Lines of a burst may be lost while the log is cut, those of a calm may not.
	awaitLog := func(what string, done func(log string) bool) (log string) {
		t.Helper()
		await.Until(t, patience, what, func() bool {
			text, err := os.ReadFile(path)
			log = string(text)
			return err == nil && done(log)
		})
		return log
	}
	awaitLog("cut", func(log string) bool { return len(log) > 0 && len(log) <= 4096 && !strings.Contains(log, "line 0\n") })
	for log := ""; !strings.HasSuffix(log, "late line\n"); {
		l.kill(t, machined.KillLeader, syscall.SIGUSR1)
		log = awaitLog("late line", func(log string) bool { return strings.HasSuffix(log, "\n") && len(log) <= 4096 })
		if !strings.HasPrefix(log, "line ") && !strings.HasPrefix(log, "late ") && !strings.HasPrefix(log, "guest ") && !strings.HasPrefix(log, "\n") {
			t.Fatalf("the log begins within a line: %.40q", log)
		}
	}
	l.kill(t, machined.KillLeader, syscall.SIGKILL)
	l.isRemoved(t)
	l.isOver(t, m)
}
