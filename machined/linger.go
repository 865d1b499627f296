package machined

import (
	"errors"
	"fmt"
)

// leaderEnded is called by the watch of processes. A machine that owns its unit
// stays listed while that holds processes, as with the stock daemon: the leader
// may have been a program that only registers what comes after it. Its name is
// free nevertheless.
func (m *Manager) leaderEnded(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table.byName[e.Name] != e {
		return
	}
	if !m.mayLinger(e) {
		m.finalize(e)
		return
	}
	if m.closed {
		return // the next Manager judges by what it finds
	}
	h, err := m.holdEntry(e)
	if err != nil {
		m.log.Error("nobody looks what is left of a machine", "machine", e.Name, "error", err)
		m.finalize(e)
		return
	}
	m.background.Go(func() { m.settle(e, h) })
}

// mayLinger is called with the lock held. What was started here is left to its
// run, which clears the unit.
func (m *Manager) mayLinger(e *entry) bool {
	return !e.managed && m.table.byUnit[e.Unit] == e && !m.table.neighbours(e)
}

// settle keeps a machine whose leader is dead if its unit is not, until the
// backend tells the end of that.
func (m *Manager) settle(e *entry, h *held) {
	active, err := m.unitIsLeft(h)
	if err = errors.Join(err, h.close()); err != nil && m.ctx.Err() == nil {
		m.log.Warn("nobody knows what is left of a machine", "machine", h.Name, "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ctx.Err() != nil: // as in leaderEnded
	case active && m.table.byName[e.Name] == e:
		e.lingers = true
		m.table.forgetLeader(e)
	default:
		m.finalize(e)
	}
}

// unitIsLeft reports whether there is something of the machine in its unit. One
// that also holds who registered it, such as a daemon with many machines, is
// none of its own: its end says nothing.
func (m *Manager) unitIsLeft(h *held) (bool, error) {
	if h.supervisor != nil && h.supervisor.Alive() && !h.hasUnitOfItsName() {
		where, err := m.units.UnitOf(m.ctx, h.supervisor.PID)
		if err == nil && where.Name == h.Unit {
			return false, nil
		}
	}
	return m.units.Follow(m.ctx, h.unit())
}

// unitEnded is told by the backend that the last process of a unit has ended. A
// leader that is alive is somewhere else now, and its end will be noticed.
func (m *Manager) unitEnded(unit string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table.byUnit[unit]; e != nil && !e.leader.Alive() {
		m.finalize(e)
	}
}

// restoreLingering takes a machine of an earlier run back whose leader is dead,
// and keeps it if there is something in its unit. It returns why that cannot be.
// Files of the stock daemon do not tell who owns a unit: there its name has to.
func (m *Manager) restoreLingering(machine Machine) error {
	if !machine.ownsWholeUnit() || machine.managed || machine.cgroup == "" && machine.Unit != ScopeName(machine.Name) {
		return errors.New("it has no unit of its own")
	}
	// How it ended nobody will ask.
	leader, err := EndedProcess(machine.Leader.PID, ExitStatus{Known: true})
	if err != nil {
		return err
	}
	leader.ProcessID = machine.Leader
	e := &entry{Machine: machine, leader: leader, unwatch: func() {}}
	e.lingers = true
	e.restoreSupervisor()
	m.mu.Lock()
	if other := m.table.byUnit[e.Unit]; other != nil {
		m.mu.Unlock()
		return errors.Join(fmt.Errorf("its unit is machine %s", other.Name), e.close())
	}
	m.table.add(e)
	m.table.forgetLeader(e)
	h, err := m.holdEntry(e)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	// The end of the unit is told from here on, and finds the machine.
	m.settle(e, h)
	return nil
}
