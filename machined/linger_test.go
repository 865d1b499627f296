package machined_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/fixtures/await"
	"berth/machined"
	"berth/machined/units/cgroup2"
	"berth/machined/units/unitstest"
)

// scopeOf puts processes into a unit that is no machine's by its name.
func scopeOf(t *testing.T, units machined.Units, name string, processes ...*machined.Process) machined.Unit {
	t.Helper()
	unit, err := units.StartScope(t.Context(), machined.Scope{Unit: name, Leader: processes[0]})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes[1:] {
		if err := join(units, unit, p); err != nil {
			t.Fatal(err)
		}
	}
	return unit
}

func join(units machined.Units, unit machined.Unit, p *machined.Process) error {
	if fake, ok := units.(*unitstest.Fake); ok {
		return fake.Join(unit.Name, p)
	}
	tree, err := cgroup2.Find()
	if err != nil {
		return err
	}
	procs := filepath.Join(tree.Mount, strings.TrimPrefix(unit.Cgroup, tree.Root), "cgroup.procs")
	return os.WriteFile(procs, []byte(itoa(p.PID)), 0)
}

func end(t *testing.T, p *machined.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, p)
}

// lingering is a machine foo whose leader is dead, in a unit with another process.
func lingering(t *testing.T, units machined.Units, w world) (rest *machined.Process) {
	t.Helper()
	leader, rest := shell(t, obey), shell(t, obey)
	scopeOf(t, units, "web.scope", leader, rest)
	w.register(t, "foo", leader, machined.Caller{}, false)
	end(t, leader)
	awaitLinger(t, w)
	return rest
}

// awaitLinger waits until the end of foo's leader was noticed.
func awaitLinger(t *testing.T, w world) {
	t.Helper()
	await.Until(t, patience, "the end of the leader to be noticed", func() bool {
		err := w.Kill(t.Context(), "foo", machined.KillLeader, syscall.SIGCONT)
		if errors.Is(err, machined.ErrNoSuchMachine) {
			t.Fatalf("the machine does not stay: %v", err)
		}
		return errors.Is(err, machined.ErrNoSuchProcess)
	})
}

func removed(name string) machined.Event {
	return machined.Event{Kind: machined.EventRemoved, Name: name}
}

func TestMachineStaysWithItsUnit(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest := lingering(t, units, w)
		if m, err := w.Find("foo"); err != nil || m.State != machined.StateRunning || m.Unit != "web.scope" {
			t.Errorf("Find = %+v, %v", m, err)
		}
		if got, err := w.FindByPID(t.Context(), rest.PID); err != nil || got.Name != "foo" {
			t.Errorf("FindByPID = %q, %v", got.Name, err)
		}
		if target, err := os.Readlink(filepath.Join(w.dir, "unit:web.scope")); err != nil || target != "foo" {
			t.Errorf("link to %q, %v", target, err)
		}
		if err := w.Kill(t.Context(), "foo", machined.KillLeader, 9); !errors.Is(err, machined.ErrNoSuchProcess) {
			t.Errorf("Kill leader: %v", err)
		}
		if err := w.Kill(t.Context(), "foo", machined.KillAll, 9); err != nil {
			t.Errorf("Kill all: %v", err)
		}
		next(t, w.events, removed("foo"))
		if entries, err := os.ReadDir(w.dir); err != nil || len(entries) != 0 {
			t.Errorf("left behind: %v, %v", entries, err)
		}
	})
}

func TestUnregisterWhatOnlyAUnitIsLeftOf(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest := lingering(t, units, w)
		if err := w.Unregister(t.Context(), "foo"); err != nil {
			t.Fatal(err)
		}
		next(t, w.events, removed("foo"))
		if !rest.Alive() {
			t.Error("its processes were killed")
		}
		end(t, rest)
		next(t, w.ended, "web.scope")
	})
}

func TestDeadMachineBlocksNoName(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest, leader := lingering(t, units, w), shell(t, obey)
		// Who only asks takes nothing away.
		_, err := w.CheckRegistration(machined.Caller{UID: 4711}, machined.Registration{
			Name: "foo", Class: machined.ClassVM, Leader: machined.ProcessRef{ProcessID: leader.ProcessID},
		})
		if err != nil {
			t.Error(err)
		}
		if _, err := w.Find("foo"); err != nil {
			t.Error(err)
		}
		w.takeOver(t, "foo", leader)
		end(t, rest)
		next(t, w.ended, "web.scope")
		if m, err := w.Find("foo"); err != nil || m.Leader != leader.ProcessID {
			t.Errorf("the end of the earlier unit ends the next machine: %+v, %v", m, err)
		}
		end(t, leader)
		next(t, w.ended, machined.ScopeName("foo"))
	})
}

func TestTerminateStopsWhatIsLeft(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest := lingering(t, units, w)
		if err := w.Terminate(t.Context(), "foo"); err != nil {
			t.Fatal(err)
		}
		waitEnd(t, rest)
		next(t, w.events, removed("foo"))
	})
}

func TestRestartKeepsWhoseUnitLives(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest := lingering(t, units, w)
		events := make(chan machined.Event, 10)
		restart := func() *machined.Manager {
			again, err := machined.New(machined.Config{StateDir: w.dir, Units: units, OnEvent: func(e machined.Event) { events <- e }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = again.Close() })
			return again
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		second := restart()
		if got, err := second.FindByPID(t.Context(), rest.PID); err != nil || got.Name != "foo" {
			t.Errorf("FindByPID = %q, %v", got.Name, err)
		}
		if err := second.Kill(t.Context(), "foo", machined.KillLeader, 9); !errors.Is(err, machined.ErrNoSuchProcess) {
			t.Errorf("Kill leader: %v", err)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		third := restart()
		end(t, rest)
		next(t, events, removed("foo"))
		if list := third.List(); len(list) != 0 {
			t.Errorf("machines %+v", list)
		}
	})
}

func TestRestartDropsWhoseUnitEnded(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest := lingering(t, units, w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		end(t, rest)
		next(t, w.ended, "web.scope")
		events := make(chan machined.Event, 10)
		again, err := machined.New(machined.Config{StateDir: w.dir, Units: units, OnEvent: func(e machined.Event) { events <- e }})
		if err != nil {
			t.Fatal(err)
		}
		next(t, events, removed("foo"))
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Where the unit is more than the machine it says nothing, and nobody may fill
// the list with what has ended long ago.
func TestWhatEndsWithItsLeader(t *testing.T) {
	user := machined.Caller{UID: 4711, Administrator: true}
	for name, test := range map[string]struct {
		unit   string
		caller func(rest *machined.Process) machined.Caller
	}{
		"a user's in a service": {"cron.service", func(*machined.Process) machined.Caller { return user }},
		"in a session":          {"session-3.scope", func(*machined.Process) machined.Caller { return machined.Caller{} }},
		"of a daemon that has many": {"many.service", func(rest *machined.Process) machined.Caller {
			return machined.Caller{PID: rest.PID}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			backends(t, func(t *testing.T, units machined.Units) {
				w := newWorld(t, units, time.Hour)
				leader, rest := shell(t, obey), shell(t, obey)
				scopeOf(t, units, test.unit, leader, rest)
				w.register(t, "foo", leader, test.caller(rest), false)
				end(t, leader)
				next(t, w.events, removed("foo"))
				if !rest.Alive() {
					t.Error("the others were killed")
				}
				end(t, rest)
				next(t, w.ended, test.unit)
			})
		})
	}
}

func TestNextMachineHasTheUnit(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest := lingering(t, units, w)
		_, err := w.Register(t.Context(), machined.Caller{}, machined.Registration{
			Name: "bar", Class: machined.ClassVM, Leader: machined.ProcessRef{ProcessID: rest.ProcessID},
		})
		if err != nil {
			t.Fatal(err)
		}
		next(t, w.events, removed("foo"))
		next(t, w.events, machined.Event{Kind: machined.EventNew, Name: "bar"})
		if target, err := os.Readlink(filepath.Join(w.dir, "unit:web.scope")); err != nil || target != "bar" {
			t.Errorf("link to %q, %v", target, err)
		}
		end(t, rest)
		next(t, w.events, removed("bar"))
	})
}

// A user's machine in the unit is no reason to forget root's, and is not ended
// with it.
func TestTerminateSparesALaterNeighbour(t *testing.T) {
	backends(t, func(t *testing.T, units machined.Units) {
		w := newWorld(t, units, time.Hour)
		rest := lingering(t, units, w)
		w.register(t, "bar", rest, machined.Caller{UID: 4711, Administrator: true}, false)
		if _, err := w.Find("foo"); err != nil {
			t.Error(err)
		}
		if err := w.Terminate(t.Context(), "foo"); err != nil {
			t.Fatal(err)
		}
		next(t, w.events, removed("foo"))
		if !rest.Alive() {
			t.Error("the neighbour was killed")
		}
		end(t, rest)
		next(t, w.events, removed("bar"))
	})
}
