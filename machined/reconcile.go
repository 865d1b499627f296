package machined

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// reconcile loads the state directory: the living machines are kept, and only
// of the others subscribers are told.
func (m *Manager) reconcile() error {
	machines, err := m.dir.load(func(err error) { m.log.Error("state file is left out", "error", err) })
	if err != nil {
		return err
	}
	dead := map[string]error{}
	for _, machine := range machines {
		if err := m.restore(machine); err != nil {
			dead[machine.Name] = err
		}
	}
	// Only now is it known which units hold a living machine.
	for _, machine := range machines {
		if err := dead[machine.Name]; err != nil {
			m.restoreDead(machine, err)
		}
		m.resume(machine)
	}
	if err := m.resumeStarts(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// The stock daemon, when it was restarted, takes every machine for the owner
	// of its unit.
	err = m.dir.sweepLinks(func(unit, name string) bool {
		e := m.table.byName[name]
		return e != nil && e.Unit == unit && e.ownsWholeUnit()
	})
	if err != nil {
		m.log.Warn("links of units stay", "error", err)
	}
	return nil
}

// restoreDead deals with a machine that restore did not take, for cause.
func (m *Manager) restoreDead(machine Machine, cause error) {
	if errors.Is(cause, ErrNoSuchProcess) {
		err := m.restoreLingering(machine)
		if err == nil {
			return
		}
		cause = fmt.Errorf("%w, and %w", cause, err)
	}
	m.log.Info("Machine "+machine.Name+" terminated.", "MESSAGE_ID", messageEnded, "name", machine.Name,
		"leader", machine.Leader.PID, "reason", cause)
	if err := m.dir.remove(machine); err != nil {
		m.log.Error("state file stays", "error", err)
	}
	m.gone = append(m.gone, machine.Name)
	m.events.publish(Event{Kind: EventRemoved, Name: machine.Name})
}

// restore takes a machine of an earlier run back into the table; an error says
// why it is not there any more.
func (m *Manager) restore(machine Machine) error {
	e, err := revive(machine)
	if err != nil {
		return err
	}
	learned := m.restoreUnit(e) // before the lock: it asks the backend
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table.byLeader[e.Leader.PID] != nil {
		return errors.Join(fmt.Errorf("process %d leads another machine", e.Leader.PID), e.close())
	}
	if err := m.watchLeader(e); err != nil {
		return errors.Join(err, e.close())
	}
	m.table.add(e)
	if learned {
		if err := m.dir.save(e.Machine); err != nil {
			m.log.Warn("state file is not brought up to date", "error", err)
		}
	}
	if err := m.dir.linkUnit(e.Machine); err != nil {
		m.log.Warn("processes will not be found by unit", "error", err)
	}
	return nil
}

// revive opens the processes of a machine of an earlier run.
func revive(machine Machine) (*entry, error) {
	leader, err := machine.Leader.reopen()
	if err != nil {
		return nil, fmt.Errorf("find leader: %w", err)
	}
	if machine.Leader.PIDFDID == 0 {
		err = startedBefore(leader, machine.Monotonic)
	}
	if err == nil && !leader.Alive() {
		err = fmt.Errorf("leader: %w", ErrNoSuchProcess)
	}
	if err != nil {
		return nil, errors.Join(err, leader.Close())
	}
	e := &entry{Machine: machine, leader: leader, unwatch: func() {}}
	e.Leader = leader.ProcessID
	e.restoreSupervisor()
	return e, nil
}

func (e *entry) restoreSupervisor() {
	recorded := e.Supervisor
	e.Supervisor = ProcessID{}
	if recorded.PID == 0 {
		return
	}
	p, err := recorded.reopen()
	if err != nil {
		return // it has ended; the machine goes on without
	}
	e.supervisor, e.Supervisor = p, p.ProcessID
}

// restoreUnit fills in what files of the stock daemon lack, and reports whether
// it did. Without the subgroup the machine would seem to own its whole unit.
func (m *Manager) restoreUnit(e *entry) bool {
	if e.Unit == "" || e.cgroup != "" {
		return false
	}
	unit, err := m.units.UnitOf(m.ctx, e.leader.PID)
	if err != nil || unit.Name != e.Unit {
		return false
	}
	unit = unit.ofMachine()
	e.Subgroup, e.cgroup = unit.Subgroup, unit.Cgroup
	// The rule of the stock daemon: below a unit the supervisor is asked.
	e.supervised = e.supervised || e.Subgroup != "" && e.supervisor != nil
	return true
}

// startedBefore returns [ErrNoSuchProcess] if the process is younger than the
// registration: then the PID was given again. It is for files without inode
// numbers.
func startedBefore(p *Process, monotonic uint64) error {
	fields, err := statFields(p.PID)
	if err != nil {
		return err
	}
	ticks, err := strconv.ParseUint(string(fields[19]), 10, 64) // starttime, the 22nd of all
	if err != nil {
		return fmt.Errorf("read start of process %d: %w", p.PID, err)
	}
	var boot, mono unix.Timespec
	err = errors.Join(unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot), unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono))
	if err != nil {
		return fmt.Errorf("read clocks: %w", err)
	}
	// The start counts time that the host slept, of which there were at most
	// boot-mono before it. USER_HZ is 100 on every architecture that matters.
	const hz, slack = 100, 1_000_000
	earliest := int64(ticks)*(1_000_000/hz) - (boot.Nano()-mono.Nano())/1000
	if earliest > int64(monotonic)+slack {
		return fmt.Errorf("process %d started after the machine was registered: %w", p.PID, ErrNoSuchProcess)
	}
	return nil
}
