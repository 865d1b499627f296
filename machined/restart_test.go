package machined_test

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/machined"
	"berth/machined/units/cgroup2"
)

func itoa(n int) string { return strconv.Itoa(n) }

// fields yields the numbers in a text.
func fields(text []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for word := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(word); err == nil && !yield(n) {
				return
			}
		}
	}
}

// The state file of the stock daemon does not say that the leader is in a
// subgroup; taken at its word, the machine would own the supervisor's unit.
func TestRestartLearnsTheSubgroup(t *testing.T) {
	units := cgroups(t)
	w := newWorld(t, units, time.Hour)
	supervisor, leader := shell(t, obey), shell(t, obey)
	unit, err := units.StartScope(t.Context(), machined.Scope{Unit: "systemd-nspawn@foo.service", Leader: supervisor})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := cgroup2.Find()
	if err != nil {
		t.Fatal(err)
	}
	payload := filepath.Join(tree.Mount, strings.TrimPrefix(unit.Cgroup, tree.Root), "payload")
	if err := errors.Join(os.Mkdir(payload, 0o755),
		os.WriteFile(filepath.Join(payload, "cgroup.procs"), []byte(itoa(leader.PID)), 0)); err != nil {
		t.Fatal(err)
	}
	m := w.register(t, "foo", leader, machined.Caller{PID: supervisor.PID}, false)
	// What comes up in the machine goes on to a cgroup of its own.
	scope := filepath.Join(payload, "init.scope")
	if err := errors.Join(os.Mkdir(scope, 0o755), os.WriteFile(filepath.Join(scope, "cgroup.procs"), []byte(itoa(leader.PID)), 0)); err != nil {
		t.Fatal(err)
	}
	if m.Unit != unit.Name || m.Subgroup != "payload" {
		t.Fatalf("unit %q, subgroup %q", m.Unit, m.Subgroup)
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "unit:"+unit.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a link for a part of a unit: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "foo")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stock, _, found := strings.Cut(string(text), "SUBGROUP=")
	if !found {
		t.Fatalf("no SUBGROUP in\n%s", text)
	}
	// Once it is restarted that daemon also links the unit.
	link := filepath.Join(w.dir, "unit:"+unit.Name)
	if err := errors.Join(os.WriteFile(file, []byte(stock), 0o644), os.Symlink("foo", link)); err != nil {
		t.Fatal(err)
	}
	again, err := machined.New(machined.Config{StateDir: w.dir, Units: units, StopGrace: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}()
	got, err := again.Find("foo")
	if err != nil || got.Subgroup != "payload" {
		t.Errorf("subgroup %q, %v", got.Subgroup, err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link for a part of a unit stays: %v", err)
	}
	// Terminate asks the supervisor, and one call ends the rest: the unit is
	// there for this machine alone. Here the supervisor does not end its leader.
	if err := again.Terminate(t.Context(), "foo"); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, supervisor)
	if !leader.Alive() {
		t.Error("the leader was asked first")
	}
	if err := leader.Signal(9); err != nil {
		t.Fatal(err)
	}
	next(t, w.ended, unit.Name)
}

// A process in the unit belongs to the machine whoever its parent is.
func TestFindByPIDGoesByUnit(t *testing.T) {
	units := cgroups(t)
	w := newWorld(t, units, time.Hour)
	leader, sibling := shell(t, obey), shell(t, obey)
	m := w.register(t, "foo", leader, machined.Caller{}, true)
	unit, err := units.UnitOf(t.Context(), leader.PID)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := cgroup2.Find()
	if err != nil {
		t.Fatal(err)
	}
	procs := filepath.Join(tree.Mount, strings.TrimPrefix(unit.Cgroup, tree.Root), "cgroup.procs")
	if err := os.WriteFile(procs, []byte(itoa(sibling.PID)), 0); err != nil {
		t.Fatal(err)
	}
	if got, err := w.FindByPID(t.Context(), sibling.PID); err != nil || got.Name != m.Name {
		t.Errorf("FindByPID = %q, %v", got.Name, err)
	}
	if err := w.Kill(t.Context(), "foo", machined.KillAll, 9); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, sibling)
	next(t, w.ended, m.Unit)
}
