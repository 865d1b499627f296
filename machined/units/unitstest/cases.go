package unitstest

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/machined"
)

func scopeHoldsLeaderAndChildren(t *testing.T, units machined.Units) {
	names := ended(t, units)
	// The child is made when the leader gets SIGUSR1, in the unit by then. It
	// holds on to the FIFO, which so tells when it has ended.
	fifo := t.TempDir() + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	leader, _ := shell(t, "trap 'sleep 1000 >"+fifo+" &' USR1; echo ready; while :; do sleep 0.05; done")
	unit := startScope(t, units, scopeName(t), leader)
	wantUnit(t, units, leader.PID, unit)
	if err := leader.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := units.Kill(t.Context(), unit, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, leader)
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, names, unit.Name)
}

func scopeOfAMember(t *testing.T, units machined.Units) {
	leader, _ := shell(t, idle)
	unit := startScope(t, units, scopeName(t), leader)
	if again := startScope(t, units, scopeName(t), leader); again != unit {
		t.Errorf("second StartScope = %+v, first %+v", again, unit)
	}
	if !leader.Alive() {
		t.Error("the leader was killed")
	}
}

func scopeOfADeadLeader(t *testing.T, units machined.Units) {
	leader, _ := shell(t, "echo ready")
	waitEnd(t, leader)
	_, err := units.StartScope(t.Context(), machined.Scope{Unit: scopeName(t), Leader: leader})
	if !errors.Is(err, machined.ErrNoSuchProcess) {
		t.Errorf("StartScope: %v, want ErrNoSuchProcess", err)
	}
}

func scopeReplacesLeftovers(t *testing.T, units machined.Units) {
	old, _ := shell(t, idle)
	startScope(t, units, scopeName(t), old)
	leader, _ := shell(t, idle)
	unit := startScope(t, units, scopeName(t), leader)
	waitEnd(t, old)
	wantUnit(t, units, leader.PID, unit)
}

func serviceGetsWhatWasAsked(t *testing.T, units machined.Units) {
	names := ended(t, units)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	p := startService(t, units, service(serviceName(t), `echo "$GREETING $1 $PWD"; read x; exit 133`, in, w))
	if err := errors.Join(w.Close(), in.Close()); err != nil {
		t.Fatal(err)
	}
	unit, err := units.UnitOf(t.Context(), p.PID)
	if err != nil || unit.Name != serviceName(t) {
		t.Errorf("UnitOf = %+v, %v", unit, err)
	}
	if _, err := out.WriteString("go on\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil || string(text) != "hello one /\n" {
		t.Errorf("service said %q, %v", text, err)
	}
	wantStatus(t, p, machined.ExitStatus{Code: 133, Known: true})
	wantEnded(t, names, unit.Name)
}

func serviceThatCannotStart(t *testing.T, units machined.Units) {
	s := service(serviceName(t), "")
	s.Path = "/nonexistent/program"
	for range 20 { // the process that finds no program is in the unit for an instant
		if _, err := units.StartService(t.Context(), s); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("StartService: %v, want ErrNotExist", err)
		}
		if err := units.Kill(t.Context(), machined.Unit{Name: s.Unit}, syscall.SIGKILL); !errors.Is(err, machined.ErrNoSuchProcess) {
			t.Fatalf("Kill: %v, want ErrNoSuchProcess", err)
		}
	}
}

func serviceThatEndsAtOnce(t *testing.T, units machined.Units) {
	names := ended(t, units)
	for range 20 {
		p := startService(t, units, service(serviceName(t), "exit 3"))
		wantStatus(t, p, machined.ExitStatus{Code: 3, Known: true})
		wantEnded(t, names, serviceName(t))
	}
}

func stopAsksFirst(t *testing.T, units machined.Units) {
	names := ended(t, units)
	// Only the leader is asked; it ends the other one itself.
	leader, _ := shell(t, `sh -c 'trap "exit 9" TERM; while :; do sleep 0.05; done' & trap 'kill -KILL $!; wait; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	unit := startScope(t, units, scopeName(t), leader)
	if err := units.Stop(t.Context(), unit, grace, leader); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, leader)
	wantEnded(t, names, unit.Name)

	p := startService(t, units, service(serviceName(t), "exec sleep 1000"))
	if err := units.Stop(t.Context(), machined.Unit{Name: serviceName(t)}, grace); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, p, machined.ExitStatus{Signal: syscall.SIGTERM, Known: true})
}

func stopEscalates(t *testing.T, units machined.Units) {
	leader, _ := shell(t, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	unit := startScope(t, units, scopeName(t), leader)
	if err := units.Stop(t.Context(), unit, 50*time.Millisecond, leader); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, leader)
}

// A unit of the same name that is made while an earlier one is being stopped has
// nothing to do with that.
func stopEndsWithItsUnit(t *testing.T, units machined.Units) {
	fifo := t.TempDir() + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	old, _ := shell(t, "trap 'echo asked >"+fifo+"' TERM; echo ready; while :; do sleep 0.05; done")
	unit := startScope(t, units, scopeName(t), old)
	stopped := make(chan error, 1)
	go func() { stopped <- units.Stop(t.Context(), unit, grace, old) }()
	if _, err := os.ReadFile(fifo); err != nil { // now Stop is waiting
		t.Fatal(err)
	}
	leader, _ := shell(t, idle)
	startScope(t, units, scopeName(t), leader)
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Stop goes on with the next unit of that name")
	}
	if !leader.Alive() {
		t.Fatal("Stop killed the next leader")
	}
}

func stopGivesUpWithContext(t *testing.T, units machined.Units) {
	leader, _ := shell(t, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	unit := startScope(t, units, scopeName(t), leader)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("enough"))
	defer cancel()
	wantCause(t, ctx, units.Stop(ctx, unit, grace, leader))
	if !leader.Alive() {
		t.Error("the leader was killed")
	}
}

func unknownUnit(t *testing.T, units machined.Units) {
	unknown := machined.Unit{Name: scopeName(t)}
	if err := units.Stop(t.Context(), unknown, grace); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := units.Kill(t.Context(), unknown, syscall.SIGTERM); !errors.Is(err, machined.ErrNoSuchProcess) {
		t.Errorf("Kill: %v, want ErrNoSuchProcess", err)
	}
}

func unitOfNobody(t *testing.T, units machined.Units) {
	leader, _ := shell(t, "echo ready")
	waitEnd(t, leader)
	if _, err := units.UnitOf(t.Context(), 1<<30); !errors.Is(err, machined.ErrNoSuchProcess) {
		t.Errorf("UnitOf(no process): %v, want ErrNoSuchProcess", err)
	}
}

func watchCancelled(t *testing.T, units machined.Units) {
	cancel := units.Watch(func(string) { t.Error("called after cancel") })
	cancel()
	names := ended(t, units)
	p := startService(t, units, service(serviceName(t), "exit 0"))
	wantStatus(t, p, machined.ExitStatus{Known: true})
	wantEnded(t, names, serviceName(t))
}

func manyAtOnce(t *testing.T, units machined.Units) {
	names := ended(t, units)
	const count = 30
	var wg sync.WaitGroup
	for i := range count {
		leader, _ := shell(t, idle)
		wg.Go(func() {
			unit, err := units.StartScope(t.Context(), machined.Scope{Unit: machined.ScopeName(t.Name()[:4] + strconv.Itoa(i)), Leader: leader})
			if err == nil {
				err = units.Stop(t.Context(), unit, grace)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for range count {
		select {
		case name := <-names:
			seen[name] = true
		case <-time.After(patience):
			t.Fatalf("only %d of %d units ended", len(seen), count)
		}
	}
	if len(seen) != count {
		t.Errorf("%d different units ended, want %d", len(seen), count)
	}
}
