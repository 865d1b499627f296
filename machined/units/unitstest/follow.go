package unitstest

import (
	"testing"

	"berth/machined"
)

// Join puts a process into a unit, which is made if there is none of that name,
// not by the backend under test and not where that makes its own.
type Join func(t *testing.T, unit string, p *machined.Process)

// RunFollow runs the part of the suite that is about units which the backend did
// not make. open is as for [Run].
func RunFollow(t *testing.T, open func(t *testing.T) (machined.Units, Join)) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, machined.Units, Join)
	}{
		{"FollowedUntilItsLastProcess", followedUntilItsLastProcess},
		{"NotFollowed", notFollowed},
		{"FollowNothing", followNothing},
		{"FollowItsOwn", followItsOwn},
	} {
		t.Run(test.name, func(t *testing.T) {
			units, join := open(t)
			test.run(t, units, join)
		})
	}
}

func foreignName(t *testing.T) string {
	t.Helper()
	return "foreign-" + scopeName(t)
}

func wantActive(t *testing.T, units machined.Units, unit machined.Unit, want bool) {
	t.Helper()
	if active, err := units.Follow(t.Context(), unit); err != nil || active != want {
		t.Fatalf("Follow(%s) = %v, %v; want %v", unit.Name, active, err, want)
	}
}

func foundIn(t *testing.T, units machined.Units, pid int, name string) machined.Unit {
	t.Helper()
	unit, err := units.UnitOf(t.Context(), pid)
	if err != nil || unit.Name != name {
		t.Fatalf("UnitOf(%d) = %+v, %v; want %s", pid, unit, err, name)
	}
	return unit
}

func kill(t *testing.T, p *machined.Process) {
	t.Helper()
	if err := p.Signal(9); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, p)
}

func followedUntilItsLastProcess(t *testing.T, units machined.Units, join Join) {
	names := ended(t, units)
	name := foreignName(t)
	first, _ := shell(t, idle)
	second, _ := shell(t, idle)
	join(t, name, first)
	join(t, name, second)
	unit := foundIn(t, units, first.PID, name)
	wantActive(t, units, unit, true)
	wantActive(t, units, unit, true)
	kill(t, first)
	wantActive(t, units, unit, true)
	kill(t, second)
	wantEnded(t, names, unit.Name)
	wantActive(t, units, unit, false)
	// The next of that name is not followed because the last one was.
	third, _ := shell(t, idle)
	join(t, name, third)
	wantActive(t, units, foundIn(t, units, third.PID, name), true)
	kill(t, third)
	wantEnded(t, names, unit.Name)
	select {
	case name := <-names:
		t.Errorf("the end of %s is told twice", name)
	default:
	}
}

// Nobody wants to hear of every unit of the host.
func notFollowed(t *testing.T, units machined.Units, join Join) {
	names := ended(t, units)
	other, _ := shell(t, idle)
	join(t, "other-"+foreignName(t), other)
	followed, _ := shell(t, idle)
	join(t, foreignName(t), followed)
	wantActive(t, units, foundIn(t, units, followed.PID, foreignName(t)), true)
	kill(t, other)
	kill(t, followed)
	wantEnded(t, names, foreignName(t))
}

func followNothing(t *testing.T, units machined.Units, _ Join) {
	wantActive(t, units, machined.Unit{Name: foreignName(t)}, false)
}

func followItsOwn(t *testing.T, units machined.Units, _ Join) {
	names := ended(t, units)
	leader, _ := shell(t, idle)
	unit := startScope(t, units, scopeName(t), leader)
	wantActive(t, units, unit, true)
	kill(t, leader)
	wantEnded(t, names, unit.Name)
	wantActive(t, units, unit, false)
}
