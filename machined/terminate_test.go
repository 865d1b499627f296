package machined

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// The tests in this file are of a host without units; those in units_test.go
// have them.

func TestKillLeader(t *testing.T) {
	m := testManager(t, testConfig(t))
	leader := sleeper(t)
	register(t, m, "foo", leader)
	for what, test := range map[string]struct {
		name string
		whom KillWhom
		sig  syscall.Signal
		want error
	}{
		"unknown machine": {"bar", KillLeader, 15, ErrNoSuchMachine},
		"no supervisor":   {"foo", KillSupervisor, 15, ErrNoSuchProcess},
		"signal 0":        {"foo", KillLeader, 0, ErrInvalidArgument},
		"signal 65":       {"foo", KillLeader, 65, ErrInvalidArgument},
		"nobody":          {"foo", "init", 15, ErrInvalidArgument},
	} {
		if err := m.Kill(t.Context(), test.name, test.whom, test.sig); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
	if err := m.Kill(t.Context(), "foo", KillAll, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, leader)
}

func TestParseKillWhom(t *testing.T) {
	for text, want := range map[string]KillWhom{"": KillAll, "all": KillAll, "leader": KillLeader, "supervisor": KillSupervisor} {
		if got, err := ParseKillWhom(text); err != nil || got != want {
			t.Errorf("ParseKillWhom(%q) = %v, %v", text, got, err)
		}
	}
	if _, err := ParseKillWhom("init"); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("ParseKillWhom: %v", err)
	}
}

func TestTerminateAsksTheSupervisor(t *testing.T) {
	m := testManager(t, testConfig(t))
	events, subscribe := record(t)
	m.Subscribe(subscribe)
	leader := shell(t, defy)
	supervisor := shell(t, obey)
	r := validRegistration()
	r.Leader.ProcessID = leader.ProcessID
	if _, err := m.Register(t.Context(), Caller{PID: supervisor.PID}, r); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, events, Event{EventNew, "foo"})
	if err := m.Terminate(t.Context(), "foo"); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, supervisor)
	if got, err := m.Find("foo"); err != nil || got.State != StateClosing {
		t.Errorf("state %v, %v; want closing", got.State, err)
	}
	killed(t, leader) // what the supervisor would have done
	wantEvent(t, events, Event{EventRemoved, "foo"})
}

func TestTerminateEscalates(t *testing.T) {
	config := testConfig(t)
	config.StopGrace = 50 * time.Millisecond
	m := testManager(t, config)
	leader, supervisor := shell(t, defy), shell(t, defy)
	r := validRegistration()
	r.Leader.ProcessID = leader.ProcessID
	if _, err := m.Register(t.Context(), Caller{PID: supervisor.PID}, r); err != nil {
		t.Fatal(err)
	}
	if err := m.Terminate(t.Context(), "foo"); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, leader)
}

func TestHostIsNeitherKilledNorForgotten(t *testing.T) {
	config := testConfig(t)
	config.Host = true
	m := testManager(t, config)
	for what, err := range map[string]error{
		"Terminate":  m.Terminate(t.Context(), HostName),
		"Kill":       m.Kill(t.Context(), HostName, KillLeader, syscall.SIGCONT),
		"Unregister": m.Unregister(t.Context(), HostName),
	} {
		if !errors.Is(err, ErrNotSupported) {
			t.Errorf("%s: %v, want ErrNotSupported", what, err)
		}
	}
}

func TestUnregisterLeavesProcessesAlone(t *testing.T) {
	m := testManager(t, testConfig(t))
	events, subscribe := record(t)
	m.Subscribe(subscribe)
	leader := sleeper(t)
	register(t, m, "foo", leader)
	if err := m.Unregister(t.Context(), "foo"); err != nil {
		t.Fatal(err)
	}
	if !leader.Alive() {
		t.Error("the leader was killed")
	}
	if err := m.Unregister(t.Context(), "foo"); !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("second Unregister: %v", err)
	}
	wantEvent(t, events, Event{EventNew, "foo"})
	wantEvent(t, events, Event{EventRemoved, "foo"})
	register(t, m, "foo", leader)
}

func TestClosedManager(t *testing.T) {
	m := testManager(t, testConfig(t))
	leader := sleeper(t)
	register(t, m, "foo", leader)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	r := validRegistration()
	r.Name, r.Leader.ProcessID = "bar", leader.ProcessID
	if _, err := m.Register(t.Context(), root(), r); !errors.Is(err, ErrClosed) {
		t.Errorf("Register: %v", err)
	}
	if readState(t, m, "foo") == "" {
		t.Error("Close removed the state file")
	}
}
