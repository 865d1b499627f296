package machined_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/machined"
	"berth/machined/units/cgroup2"
	"berth/machined/units/unitstest"
)

const patience = time.Minute

// backends runs a test with every units backend that works on this machine.
func backends(t *testing.T, test func(t *testing.T, units machined.Units)) {
	t.Run("fake", func(t *testing.T) {
		fake, err := unitstest.NewFake()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := fake.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, fake)
	})
	t.Run("cgroup2", func(t *testing.T) { test(t, cgroups(t)) })
}

// cgroups is a backend in a part of the cgroup tree of its own.
func cgroups(t *testing.T) machined.Units {
	t.Helper()
	tree, err := cgroup2.Find()
	if err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	base, err := os.MkdirTemp(tree.Mount, "berth-test-")
	if err != nil {
		t.Skip("NOT TESTED: cannot write to the cgroup2 tree: ", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(os.Remove(filepath.Join(base, "machine.slice")), os.Remove(base)); err != nil {
			t.Error(err)
		}
	})
	units, err := cgroup2.New(cgroup2.Options{Base: filepath.Join(tree.Root, filepath.Base(base))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		awaitNoUnits(t, filepath.Join(base, "machine.slice"))
		if err := units.Close(); err != nil {
			t.Error(err)
		}
	})
	return units
}

// awaitNoUnits waits until the backend has removed every unit, as it does when
// the last process of each has ended.
func awaitNoUnits(t *testing.T, slice string) {
	t.Helper()
	var units []string
	removed := await.Met(patience, func() bool {
		services, err := filepath.Glob(filepath.Join(slice, "*@*.service"))
		scopes, scopeErr := filepath.Glob(filepath.Join(slice, "*.scope"))
		if err := errors.Join(err, scopeErr); err != nil {
			t.Error(err)
		}
		units = slices.Concat(services, scopes)
		return len(units) == 0
	})
	if !removed {
		t.Errorf("units %q are left", units) // a test that has failed may have left them
	}
}

// world is a Manager with units, its events, and the ends of units.
type world struct {
	*machined.Manager
	dir    string
	events chan machined.Event
	ended  chan string
}

func newWorld(t *testing.T, units machined.Units, grace time.Duration) world {
	t.Helper()
	w := world{dir: t.TempDir(), events: make(chan machined.Event, 100), ended: make(chan string, 100)}
	t.Cleanup(units.Watch(func(unit string) { w.ended <- unit }))
	m, err := machined.New(machined.Config{
		StateDir: w.dir, RunDir: w.dir, LogDir: w.dir, Units: units, StopGrace: grace, OnEvent: func(e machined.Event) { w.events <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Manager = m
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func next[T comparable](t *testing.T, from <-chan T, want T) {
	t.Helper()
	select {
	case got := <-from:
		if got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("nothing came, want %v", want)
	}
}

// shell starts a shell in a process group of its own, all of which is killed in
// the end, and waits for the first output.
func shell(t *testing.T, script string) *machined.Process {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
	})
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	p, err := machined.OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

const (
	obey = "echo ready; exec sleep 1000"
	defy = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
)

func waitEnd(t *testing.T, p *machined.Process) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.PIDFD().Fd()), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			t.Fatalf("process %d does not end: %v", p.PID, err)
		}
		return
	}
}

func (w world) register(t *testing.T, name string, leader *machined.Process, caller machined.Caller, allocate bool) machined.Machine {
	t.Helper()
	m, err := w.Register(t.Context(), caller, machined.Registration{
		Name: name, Class: machined.ClassVM, Leader: machined.ProcessRef{ProcessID: leader.ProcessID}, AllocateUnit: allocate,
	})
	if err != nil {
		t.Fatal(err)
	}
	next(t, w.events, machined.Event{Kind: machined.EventNew, Name: name})
	return m
}

// takeOver registers a machine in place of one whose leader is dead.
func (w world) takeOver(t *testing.T, name string, leader *machined.Process) {
	t.Helper()
	_, err := w.Register(t.Context(), machined.Caller{}, machined.Registration{
		Name: name, Class: machined.ClassVM, Leader: machined.ProcessRef{ProcessID: leader.ProcessID}, AllocateUnit: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	next(t, w.events, machined.Event{Kind: machined.EventRemoved, Name: name})
	next(t, w.events, machined.Event{Kind: machined.EventNew, Name: name})
}

func TestRegisterMakesAScope(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		leader := shell(t, obey)
		m := w.register(t, "foo-bar", leader, machined.Caller{}, true)
		if m.Unit != `machine-foo\x2dbar.scope` || m.Subgroup != "" {
			t.Errorf("unit %q, subgroup %q", m.Unit, m.Subgroup)
		}
		target, err := os.Readlink(filepath.Join(w.dir, "unit:"+m.Unit))
		if err != nil || target != "foo-bar" {
			t.Errorf("link to %q, %v", target, err)
		}
		if unit, err := units.UnitOf(t.Context(), leader.PID); err != nil || unit.Name != m.Unit {
			t.Errorf("UnitOf = %+v, %v", unit, err)
		}
		if err := w.Terminate(t.Context(), "foo-bar"); err != nil {
			t.Fatal(err)
		}
		next(t, w.events, machined.Event{Kind: machined.EventRemoved, Name: "foo-bar"})
		next(t, w.ended, m.Unit)
		if entries, err := os.ReadDir(w.dir); err != nil || len(entries) != 0 {
			t.Errorf("left behind: %v, %v", entries, err)
		}
	})
}

func TestTerminateKillsAllThatIsLeft(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, 50*time.Millisecond)
		m := w.register(t, "foo", shell(t, defy), machined.Caller{}, true)
		if err := errors.Join(w.Terminate(t.Context(), "foo"), w.Terminate(t.Context(), "foo")); err != nil {
			t.Fatal(err)
		}
		next(t, w.events, machined.Event{Kind: machined.EventRemoved, Name: "foo"})
		next(t, w.ended, m.Unit)
	})
}

// A daemon that asks for scopes for its many machines must survive the end of
// any one of them.
func TestTerminateSparesWhoAskedForTheScope(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, 50*time.Millisecond)
		daemon := shell(t, obey)
		m := w.register(t, "foo", shell(t, defy), machined.Caller{PID: daemon.PID}, true)
		if m.Supervisor != daemon.ProcessID {
			t.Errorf("supervisor %+v", m.Supervisor)
		}
		if err := w.Terminate(t.Context(), "foo"); err != nil {
			t.Fatal(err)
		}
		next(t, w.events, machined.Event{Kind: machined.EventRemoved, Name: "foo"})
		next(t, w.ended, m.Unit)
		if !daemon.Alive() {
			t.Error("the daemon was killed")
		}
	})
}

// Whoever registers several machines in one unit does not lose all of them at
// the end of one.
func TestTerminateSparesNeighboursInTheUnit(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		first, second := shell(t, obey), shell(t, obey)
		w := newWorld(t, inOneUnit{units, machined.Unit{Name: "both.scope"}}, 50*time.Millisecond)
		w.register(t, "first", first, machined.Caller{}, false)
		w.register(t, "second", second, machined.Caller{}, false)
		if target, err := os.Readlink(filepath.Join(w.dir, "unit:both.scope")); err != nil || target != "first" {
			t.Errorf("link to %q, %v", target, err)
		}
		if err := w.Terminate(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		next(t, w.events, machined.Event{Kind: machined.EventRemoved, Name: "first"})
		if !second.Alive() {
			t.Error("the neighbour was killed")
		}
	})
}

// inOneUnit says of all processes that they are in the same unit.
type inOneUnit struct {
	machined.Units
	unit machined.Unit
}

func (u inOneUnit) UnitOf(context.Context, int) (machined.Unit, error) { return u.unit, nil }

func (u inOneUnit) Stop(context.Context, machined.Unit, time.Duration, ...*machined.Process) error {
	return errors.New("the unit of both is stopped")
}

func TestTheNextMachineOfThatNameIsNotTerminated(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		// The leader ends at once, its sibling in the unit stays.
		old := shell(t, "sleep 1000 & echo ready; trap 'exit 0' TERM; while :; do sleep 0.05; done")
		w.register(t, "foo", old, machined.Caller{}, true)
		if err := w.Terminate(t.Context(), "foo"); err != nil {
			t.Fatal(err)
		}
		waitEnd(t, old)
		leader := shell(t, obey)
		w.takeOver(t, "foo", leader)
		if err := w.Kill(t.Context(), "foo", machined.KillAll, syscall.SIGCONT); err != nil || !leader.Alive() {
			t.Errorf("alive %v, %v", leader.Alive(), err)
		}
		if err := w.Kill(t.Context(), "foo", machined.KillAll, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next(t, w.ended, machined.ScopeName("foo"))
		next(t, w.ended, machined.ScopeName("foo"))
	})
}

func TestKillAllReachesTheWholeUnit(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		m := w.register(t, "foo", shell(t, defy), machined.Caller{}, true)
		if err := w.Kill(t.Context(), "foo", machined.KillAll, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next(t, w.events, machined.Event{Kind: machined.EventRemoved, Name: "foo"})
		next(t, w.ended, m.Unit)
	})
}

func TestFindByPID(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		leader := shell(t, "trap '(echo $$ >"+fifo+"; exec sleep 1000) &' USR1; echo ready; while :; do sleep 0.05; done")
		m := w.register(t, "foo", leader, machined.Caller{}, true)
		if err := leader.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadFile(fifo); err != nil {
			t.Fatal(err)
		}
		children, err := os.ReadFile(filepath.Join("/proc", itoa(leader.PID), "task", itoa(leader.PID), "children"))
		if err != nil {
			t.Skip("NOT TESTED: kernel without lists of children: ", err)
		}
		var child int
		for _, word := range slices.Collect(fields(children)) {
			child = word
			break
		}
		for _, pid := range []int{leader.PID, child} {
			if got, err := w.FindByPID(t.Context(), pid); err != nil || got.Name != m.Name {
				t.Errorf("FindByPID(%d) = %q, %v", pid, got.Name, err)
			}
		}
		for _, pid := range []int{-1, 0, 1, os.Getpid(), 1 << 30} {
			if _, err := w.FindByPID(t.Context(), pid); !errors.Is(err, machined.ErrNoMachineForPID) {
				t.Errorf("FindByPID(%d): %v", pid, err)
			}
		}
		if err := w.Kill(t.Context(), "foo", machined.KillAll, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next(t, w.ended, m.Unit)
	})
}
