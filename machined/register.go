package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Register takes a running machine into the table on behalf of caller, who
// becomes its owner, and its supervisor unless it is the leader itself.
// [ErrInvalidName], [ErrInvalidArgument], [ErrMachineExists], [ErrNotOwner],
// [ErrNoSuchProcess]; else the error of the units backend.
func (m *Manager) Register(ctx context.Context, caller Caller, r Registration) (_ Machine, err error) {
	if err := r.validate(); err != nil {
		return Machine{}, fmt.Errorf("register machine: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("register machine %s: %w", r.Name, err)
		}
	}()
	leader, err := openLeader(caller, r.Leader)
	if err != nil {
		return Machine{}, err
	}
	if err := mayRegister(caller, leader); err != nil {
		return Machine{}, errors.Join(err, leader.Close())
	}
	release, err := m.reserve(r.Name)
	if err != nil {
		return Machine{}, errors.Join(err, leader.Close())
	}
	defer release()
	e := &entry{Machine: r.machine(caller.UID), leader: leader, supervisor: openSupervisor(caller, leader)}
	// Who asks for a scope may be a daemon with many machines.
	e.supervised = e.supervisor != nil && !r.AllocateUnit
	return m.admit(ctx, e, r.AllocateUnit, r.ScopeProperties...)
}

// CheckRegistration returns what Register would refuse to whoever asks, so that
// nobody is asked for a password in vain. The registration that it returns is of
// the very process that has the leader's PID now, should another have it later.
func (m *Manager) CheckRegistration(caller Caller, r Registration) (Registration, error) {
	if err := r.validate(); err != nil {
		return r, fmt.Errorf("register machine: %w", err)
	}
	leader, err := openLeader(caller, r.Leader)
	if err == nil {
		r.Leader.ProcessID = leader.ProcessID
		err = leader.Close()
	}
	if err == nil {
		err = m.checkFree(r.Name)
	}
	if err != nil {
		return r, fmt.Errorf("register machine %s: %w", r.Name, err)
	}
	return r, nil
}

// Ids of messages in the journal, those of the stock daemon.
const (
	messageNew   = "24d8d4452573402496068381a6312df2"
	messageEnded = "58432bd3bace477cb514b56381b8a758"
)

// openLeader opens the process that ref names, the caller if it names none.
func openLeader(caller Caller, ref ProcessRef) (*Process, error) {
	if ref.IsZero() {
		ref = ProcessRef{ProcessID: ProcessID{PID: caller.PID}, PIDFD: caller.PIDFD}
	}
	p, err := ref.open()
	if err != nil {
		return nil, fmt.Errorf("find leader: %w", err)
	}
	if p.PID == 1 || p.PID == os.Getpid() {
		return nil, errors.Join(badField("Leader", "process %d cannot be a leader", p.PID), p.Close())
	}
	return p, nil
}

func (r ProcessRef) open() (*Process, error) {
	if r.PIDFD == nil {
		return r.reopen()
	}
	p, err := OpenPIDFD(r.PIDFD)
	if err != nil {
		return nil, err
	}
	if r.PID != 0 && r.PID != p.PID || r.PIDFDID != 0 && r.PIDFDID != p.PIDFDID {
		return nil, errors.Join(badField("Leader", "PID and pidfd name different processes"), p.Close())
	}
	return p, nil
}

// openSupervisor opens the calling process, nil if it is the leader, the daemon
// itself, or has ended, as short-lived clients have.
func openSupervisor(caller Caller, leader *Process) *Process {
	if caller.PID <= 1 || caller.PID == leader.PID || caller.PID == os.Getpid() {
		return nil
	}
	p, err := caller.open()
	if err != nil {
		return nil
	}
	return p
}

// reserve takes a name for a machine that is being made. An entry with a dead
// leader gives way.
func (m *Manager) reserve(name string) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkFreeLocked(name); err != nil {
		return nil, err
	}
	if e := m.table.byName[name]; e != nil {
		m.finalize(e)
	}
	return m.takeLocked(name), nil
}

// checkFree returns what reserve would.
func (m *Manager) checkFree(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.checkFreeLocked(name)
}

func (m *Manager) checkFreeLocked(name string) error {
	if m.closed {
		return ErrClosed
	}
	e := m.table.byName[name]
	if _, taken := m.reserved[name]; taken || e != nil && e.leader.Alive() {
		return ErrMachineExists
	}
	return nil
}

// take reserves a name that nobody else can ask for yet.
func (m *Manager) take(name string) (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.takeLocked(name)
}

func (m *Manager) takeLocked(name string) (release func()) {
	m.reserved[name] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.reserved, name)
	}
}

// admit finds or makes the unit of a machine whose name is reserved and lets it
// into the table. It takes the entry's handles over.
func (m *Manager) admit(ctx context.Context, e *entry, allocate bool, scope ...Property) (Machine, error) {
	e.unwatch = func() {}
	unit, err := m.place(ctx, e, allocate, scope)
	if err != nil {
		return Machine{}, errors.Join(err, e.close())
	}
	e.Unit, e.Subgroup, e.cgroup = unit.Name, unit.Subgroup, unit.Cgroup
	e.Leader = e.leader.ProcessID
	if e.supervisor != nil {
		e.Supervisor = e.supervisor.ProcessID
	}
	e.Realtime, e.Monotonic = now()
	// Once it is published the entry is everybody's, and the lock guards it.
	machine := e.clone()
	if err := m.publish(e); err != nil {
		return Machine{}, errors.Join(err, e.close())
	}
	m.log.Info("New machine "+machine.Name+".", "MESSAGE_ID", messageNew, "name", machine.Name, "leader", machine.Leader.PID,
		"class", machine.Class, "unit", machine.Unit, "subgroup", machine.Subgroup)
	return machine, nil
}

// place keeps the unit that the leader is in and makes one where it has none.
// Only a unit that was asked for must succeed.
func (m *Manager) place(ctx context.Context, e *entry, allocate bool, scope []Property) (Unit, error) {
	if !allocate {
		unit, err := m.units.UnitOf(ctx, e.leader.PID)
		if err == nil && !e.leader.Alive() {
			err = ErrNoSuchProcess // and the PID may be another's
		}
		if err != nil || unit.Name != "" {
			return unit.ofMachine(), err
		}
	}
	unit, err := m.units.StartScope(ctx, Scope{
		Unit: ScopeName(e.Name), Description: e.description(), UID: e.UID, Leader: e.leader, Properties: scope,
	})
	if err != nil && !allocate && !errors.Is(err, ErrNoSuchProcess) && ctx.Err() == nil {
		m.log.Warn("machine gets no unit", "machine", e.Name, "error", err)
		return Unit{}, nil
	}
	return unit, err
}

func (m Machine) description() string {
	if m.Class == ClassVM {
		return "Virtual Machine " + m.Name
	}
	return "Container " + m.Name
}

// publish makes the machine known: from here on its end is noticed, and then
// the file is there and subscribers are told.
func (m *Manager) publish(e *entry) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if other := m.table.byLeader[e.Leader.PID]; other != nil && other.leader.Alive() {
		return fmt.Errorf("process %d leads machine %s: %w", e.Leader.PID, other.Name, ErrMachineExists)
	}
	before := m.table.byUnit[e.Unit]
	// What is left in the unit of a dead machine says nothing of that any more.
	replaces := before != nil && !before.leader.Alive() && e.ownsWholeUnit()
	e.shared = before != nil && !replaces
	if err := m.watchLeader(e); err != nil {
		return err
	}
	if err := m.dir.save(e.Machine); err != nil {
		return err
	}
	if replaces {
		m.finalize(before)
	}
	if err := m.dir.linkUnit(e.Machine); err != nil {
		m.log.Warn("processes will not be found by unit", "error", err)
	}
	m.table.add(e)
	m.events.publish(Event{Kind: EventNew, Name: e.Name})
	return nil
}

func (m *Manager) watchLeader(e *entry) (err error) {
	e.unwatch, err = m.watch.add(e.leader, func() { m.leaderEnded(e) })
	if err != nil {
		e.unwatch = func() {}
	}
	return err
}

// now returns the time of the two clocks in µs.
func now() (realtime, monotonic uint64) {
	var ts unix.Timespec
	// Fails only for clocks that do not exist.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(time.Now().UnixMicro()), uint64(ts.Nano() / 1000)
}
