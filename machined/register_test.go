package machined

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRegisterListFindAndEnd(t *testing.T) {
	config := testConfig(t)
	config.Host = true
	m := testManager(t, config)
	events, subscribe := record(t)
	m.Subscribe(subscribe)
	leader := sleeper(t)
	got := register(t, m, "foo", leader)
	wantEvent(t, events, Event{EventNew, "foo"})
	if got.Leader != leader.ProcessID || got.Realtime == 0 || got.Monotonic == 0 || got.State != StateRunning || got.VSockCID != AnyCID {
		t.Errorf("machine %+v", got)
	}
	found, err := m.Find("foo")
	if diff := cmp.Diff(got, found, cmpMachine); err != nil || diff != "" {
		t.Errorf("Find: %v\n%s", err, diff)
	}
	list := m.List()
	if len(list) != 2 || list[0].Name != HostName || list[0].Class != ClassHost || list[1].Name != "foo" {
		t.Errorf("List = %+v", list)
	}
	text := readState(t, m, "foo")
	wantLine(t, text, "LEADER="+strconv.Itoa(leader.PID))
	wantLine(t, text, "CLASS=container")
	wantLine(t, text, "VSOCK_CID=4294967295")
	killed(t, leader)
	wantEvent(t, events, Event{EventRemoved, "foo"})
	if _, err := m.Find("foo"); !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("Find: %v, want ErrNoSuchMachine", err)
	}
	if files := names(t, m.config.StateDir); len(files) != 0 {
		t.Errorf("left behind: %q", files)
	}
}

func TestRegisterOverADeadEntry(t *testing.T) {
	m := testManager(t, testConfig(t))
	// The watch is kept from noticing, as it would be for an instant in any case.
	first := sleeper(t)
	register(t, m, "foo", first)
	m.mu.Lock()
	m.table.byName["foo"].unwatch()
	m.mu.Unlock()
	events, subscribe := record(t)
	m.Subscribe(subscribe)
	killed(t, first)
	second := sleeper(t)
	register(t, m, "foo", second)
	wantEvent(t, events, Event{EventRemoved, "foo"})
	wantEvent(t, events, Event{EventNew, "foo"})
	wantLine(t, readState(t, m, "foo"), "LEADER="+strconv.Itoa(second.PID))
}

func TestRegisterRefuses(t *testing.T) {
	m := testManager(t, testConfig(t))
	leader, other := sleeper(t), sleeper(t)
	dead, reap := command(t, "/bin/true")
	waitEnd(t, dead)
	reap()
	register(t, m, "foo", leader)
	stranger := Caller{UID: plainUser, PID: other.PID}
	for what, test := range map[string]struct {
		caller Caller
		change func(*Registration)
		want   error
	}{
		"a name in use":         {root(), func(r *Registration) { r.Name = "foo" }, ErrMachineExists},
		"a leader in use":       {root(), func(r *Registration) { r.Leader.ProcessID = leader.ProcessID }, ErrMachineExists},
		"a foreign process":     {stranger, func(*Registration) {}, ErrNotOwner},
		"the host's init":       {Caller{PID: 1}, func(r *Registration) { r.Leader = ProcessRef{} }, ErrInvalidArgument},
		"the daemon itself":     {root(), func(r *Registration) { r.Leader = ProcessRef{} }, ErrInvalidArgument},
		"a dead process":        {root(), func(r *Registration) { r.Leader.ProcessID = ProcessID{PID: dead.PID} }, ErrNoSuchProcess},
		"a recycled process":    {root(), func(r *Registration) { r.Leader.PIDFDID++ }, ErrNoSuchProcess},
		"a pidfd of another":    {root(), func(r *Registration) { r.Leader.PIDFD = leader.PIDFD() }, ErrInvalidArgument},
		"a pidfd of a dead one": {root(), func(r *Registration) { r.Leader = ProcessRef{PIDFD: dead.PIDFD()} }, ErrNoSuchProcess},
		"an invalid name":       {root(), func(r *Registration) { r.Name = "a_b" }, ErrInvalidName},
	} {
		r := validRegistration()
		r.Name, r.Leader.ProcessID = "bar", other.ProcessID
		test.change(&r)
		if _, err := m.Register(t.Context(), test.caller, r); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
	if files := names(t, m.config.StateDir); !slices.Equal(files, []string{"foo"}) {
		t.Errorf("files %q", files)
	}
	// None of the refusals may have kept the name.
	register(t, m, "bar", other)
}

// A number says nothing of a process once that has been looked at.
func TestCheckedRegistrationIsOfOneProcess(t *testing.T) {
	m := testManager(t, testConfig(t))
	p := sleeper(t)
	r := validRegistration()
	r.Leader.ProcessID = ProcessID{PID: p.PID}
	got, err := m.CheckRegistration(root(), r)
	if err != nil || got.Leader.ProcessID != p.ProcessID {
		t.Errorf("leader %+v, %v, want %+v", got.Leader, err, p.ProcessID)
	}
}

func TestRegisterByAdministratorKeepsTheOwner(t *testing.T) {
	m := testManager(t, testConfig(t))
	leader := sleeper(t)
	r := validRegistration()
	r.Leader.PIDFD = leader.PIDFD()
	got, err := m.Register(t.Context(), Caller{UID: plainUser, Administrator: true}, r)
	if err != nil || got.UID != plainUser || got.Leader != leader.ProcessID {
		t.Errorf("machine %+v, %v", got, err)
	}
	wantLine(t, readState(t, m, "foo"), "UID=4711")
}

func TestSupervisorIsTheCaller(t *testing.T) {
	m := testManager(t, testConfig(t))
	leader, supervisor := sleeper(t), sleeper(t)
	r := validRegistration()
	r.Leader.ProcessID = leader.ProcessID
	got, err := m.Register(t.Context(), Caller{PID: supervisor.PID, PIDFD: supervisor.PIDFD()}, r)
	if err != nil || got.Supervisor != supervisor.ProcessID {
		t.Fatalf("machine %+v, %v", got, err)
	}
	wantLine(t, readState(t, m, "foo"), "SUPERVISOR="+strconv.Itoa(supervisor.PID))
	if err := m.Kill(t.Context(), "foo", KillSupervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitEnd(t, supervisor)
	if _, err := m.Find("foo"); err != nil {
		t.Errorf("the machine ended with its supervisor: %v", err)
	}
	// One that has ended is none, be it known by pidfd.
	r.Name, r.Leader.ProcessID = "late", sleeper(t).ProcessID
	got, err = m.Register(t.Context(), Caller{PID: supervisor.PID, PIDFD: supervisor.PIDFD()}, r)
	if err != nil || got.Supervisor.PID != 0 {
		t.Errorf("machine %+v, %v", got, err)
	}
	r.Name, r.Leader = "self", ProcessRef{}
	own := sleeper(t)
	got, err = m.Register(t.Context(), Caller{PID: own.PID}, r)
	if err != nil || got.Leader != own.ProcessID || got.Supervisor.PID != 0 {
		t.Errorf("machine %+v, %v", got, err)
	}
}

func TestRegisterWhereNothingCanBeWritten(t *testing.T) {
	m := testManager(t, testConfig(t))
	events, subscribe := record(t)
	m.Subscribe(subscribe)
	if err := os.Remove(m.config.StateDir); err != nil {
		t.Fatal(err)
	}
	r := validRegistration()
	r.Leader.ProcessID = sleeper(t).ProcessID
	if _, err := m.Register(t.Context(), root(), r); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Register: %v, want ErrNotExist", err)
	}
	if _, err := m.Find("foo"); !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("Find: %v", err)
	}
	noEvent(t, events)
}
