package machined_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/fixtures/await"
	"berth/fixtures/guest/guesttest"
	"berth/images"
	"berth/machined"
	"berth/machined/runner"
	"berth/machined/units/cgroup2"
)

// startHost is a manager that starts real containers of the minimal guest.
func startHost(t *testing.T, names ...string) (*machined.Manager, machined.Config) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: starts containers")
	}
	nspawn, err := runner.FindNspawn()
	if err != nil {
		t.Skipf("%v (Debian package systemd-container)", err)
	}
	units, err := cgroup2.New(cgroup2.Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Skipf("needs cgroup v2: %v", err)
	}
	t.Cleanup(func() {
		if err := units.Close(); err != nil {
			t.Error(err)
		}
	})
	root := t.TempDir()
	locations := images.SystemLocations(root)
	locations.Host = false
	run, err := os.MkdirTemp("/tmp", "berth-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	config := machined.Config{
		StateDir: filepath.Join(root, "state"), RunDir: run, LogDir: filepath.Join(root, "log"),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	config.Units, config.Runner, config.Images = units, nspawn, images.NewStore(locations)
	for _, name := range names {
		dir := filepath.Join(locations.Pool[images.ClassMachine], name)
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(guesttest.Minimal(t), dir); err != nil {
			t.Fatal(err)
		}
	}
	return openManager(t, config), config
}

// administrator is the caller of these tests.
var administrator = machined.Caller{PID: os.Getpid()}

func openManager(t *testing.T, config machined.Config) *machined.Manager {
	t.Helper()
	m, err := machined.New(config)
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

// follow receives the events of a manager.
func follow(t *testing.T, m *machined.Manager) <-chan machined.Event {
	t.Helper()
	events := make(chan machined.Event, 100)
	t.Cleanup(m.Subscribe(func(e machined.Event) { events <- e }))
	return events
}

func awaitEvent(t *testing.T, events <-chan machined.Event, kind machined.EventKind, name string) {
	t.Helper()
	select {
	case e := <-events:
		if e.Kind != kind || e.Name != name {
			t.Fatalf("event %v, want %v of %s", e, kind, name)
		}
	case <-time.After(time.Minute):
		t.Fatalf("no event, want %v of %s", kind, name)
	}
}

// awaitUp waits until the guest has said so often that it is up: before that its
// init does not hear signals.
func awaitUp(t *testing.T, config machined.Config, name string, times int) {
	t.Helper()
	await.Until(t, time.Minute, "the guest to be up", func() bool {
		text, err := os.ReadFile(filepath.Join(config.LogDir, name+".log"))
		return err == nil && strings.Count(string(text), "minimal guest: up") >= times
	})
}

// mustEnd sees to it that a failed test leaves no machine.
func mustEnd(t *testing.T, config machined.Config, name string) {
	t.Cleanup(func() {
		unit := machined.Unit{Name: machined.ScopeName(name)}
		if err := config.Units.Stop(context.Background(), unit, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestStartPowerOffAndReboot(t *testing.T) {
	name := "berth-start"
	m, config := startHost(t, name)
	mustEnd(t, config, name)
	events := follow(t, m)
	if _, err := m.Start(t.Context(), administrator, machined.StartRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	awaitUp(t, config, name, 1)
	awaitEvent(t, events, machined.EventNew, name)
	first, err := m.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	if first.Class != machined.ClassContainer || first.Service != "systemd-nspawn" || first.Unit != machined.ScopeName(name) || first.Supervisor.PID == 0 {
		t.Errorf("machine %+v", first)
	}
	if _, err := m.Start(t.Context(), administrator, machined.StartRequest{Name: name}); !errors.Is(err, machined.ErrMachineExists) {
		t.Errorf("second start: %v", err)
	}
	if err := m.Kill(t.Context(), name, machined.KillLeader, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	awaitEvent(t, events, machined.EventRemoved, name)
	awaitEvent(t, events, machined.EventNew, name)
	second, err := m.Find(name)
	if err != nil || second.Leader == first.Leader {
		t.Errorf("after the reboot: %+v, %v", second, err)
	}
	awaitUp(t, config, name, 2)
	const powerOff = syscall.Signal(38) // SIGRTMIN+4
	if err := m.Kill(t.Context(), name, machined.KillLeader, powerOff); err != nil {
		t.Fatal(err)
	}
	awaitEvent(t, events, machined.EventRemoved, name)
	if _, err := m.Find(name); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("after power-off: %v", err)
	}
}

// A manager that is started anew must take up what the old one started.
func TestStartedMachineOutlivesTheManager(t *testing.T) {
	name := "berth-outlives"
	m, config := startHost(t, name)
	mustEnd(t, config, name)
	if _, err := m.Start(t.Context(), administrator, machined.StartRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	first, err := m.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	// The runner is this process's child, which it would not be of a daemon that
	// was started anew; somebody has to reap it in place of the old one's parent.
	reaped := make(chan error, 1)
	go func() {
		_, err := syscall.Wait4(first.Supervisor.PID, nil, 0, nil)
		reaped <- err
	}()
	again := openManager(t, config)
	kept, err := again.Find(name)
	if err != nil || kept.Leader != first.Leader || kept.Unit != first.Unit || kept.Subgroup != first.Subgroup {
		t.Fatalf("after a restart: %+v, %v, want %+v", kept, err, first)
	}
	events := follow(t, again)
	awaitUp(t, config, name, 1)
	if err := again.Kill(t.Context(), name, machined.KillLeader, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	awaitEvent(t, events, machined.EventRemoved, name)
	awaitEvent(t, events, machined.EventNew, name)
	if err := <-reaped; err != nil {
		t.Error(err)
	}
	awaitUp(t, config, name, 2)
	if err := again.Terminate(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	awaitEvent(t, events, machined.EventRemoved, name)
}

func TestStartFails(t *testing.T) {
	name := "berth-fails"
	m, config := startHost(t, name)
	store := config.Images.(*images.Store)
	dir := filepath.Join(store.Locations().Pool[images.ClassMachine], name)
	// Without an operating system tree nspawn refuses.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Start(t.Context(), administrator, machined.StartRequest{Name: name}); !errors.Is(err, images.ErrNotFound) {
		t.Errorf("without image: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := m.Start(t.Context(), administrator, machined.StartRequest{Name: name})
	if !errors.Is(err, machined.ErrStartFailed) || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("an empty image: %v", err)
	}
	if _, err := m.Find(name); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("a failed machine is known: %v", err)
	}
	if _, err := m.Start(t.Context(), administrator, machined.StartRequest{Name: "../x"}); !errors.Is(err, machined.ErrInvalidName) {
		t.Errorf("bad name: %v", err)
	}
}

// A machine that was told to end must end although its manager is closed before
// the grace is over.
func TestTerminateIsNotForgotten(t *testing.T) {
	name := "berth-forgotten"
	m, config := startHost(t, name)
	mustEnd(t, config, name)
	if _, err := m.Start(t.Context(), administrator, machined.StartRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	machine, err := m.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	leader, err := machined.OpenProcess(machine.Leader.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Close() //nolint:errcheck // of a test
	// The guest is not up yet and does not hear what it is asked.
	if err := errors.Join(m.Terminate(t.Context(), name), m.Close()); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, leader) // it is killed, and not for the kernel to be quick about it
}
