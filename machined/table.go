package machined

import (
	"errors"
	"fmt"
)

// entry is a machine in the table and the handles it needs.
type entry struct {
	Machine
	leader     *Process
	supervisor *Process // nil: none
	unwatch    func()
	stopping   bool // somebody sees to it that it ends
}

func (e *entry) close() error {
	e.unwatch()
	err := e.leader.Close()
	if e.supervisor != nil {
		err = errors.Join(err, e.supervisor.Close())
	}
	return err
}

// table holds the machines but ".host". The Manager's lock guards it.
type table struct {
	byName   map[string]*entry
	byLeader map[int]*entry    // by PID, which stays the leader's while it lives
	byUnit   map[string]*entry // only machines that own their whole unit
	changes  uint64            // machines that came and that went
}

func newTable() table {
	return table{byName: map[string]*entry{}, byLeader: map[int]*entry{}, byUnit: map[string]*entry{}}
}

func (t *table) add(e *entry) {
	t.changes++
	t.byName[e.Name] = e
	t.byLeader[e.Leader.PID] = e
	if e.ownsWholeUnit() {
		t.byUnit[e.Unit] = e
	}
}

// forgetLeader is for a machine whose leader has ended: the PID may become
// another's.
func (t *table) forgetLeader(e *entry) {
	if t.byLeader[e.Leader.PID] == e {
		delete(t.byLeader, e.Leader.PID)
	}
}

// remove reports whether the entry was there.
func (t *table) remove(e *entry) bool {
	if t.byName[e.Name] != e {
		return false
	}
	t.changes++
	delete(t.byName, e.Name)
	t.forgetLeader(e)
	if t.byUnit[e.Unit] == e {
		delete(t.byUnit, e.Unit)
	}
	return true
}

// neighbours reports whether another machine is in the unit of e.
func (t *table) neighbours(e *entry) bool {
	for _, other := range t.byName {
		if other != e && e.Unit != "" && other.Unit == e.Unit && other.Subgroup == e.Subgroup {
			return true
		}
	}
	return false
}

// find returns the machine of that name.
func (t *table) find(name string) (*entry, error) {
	if e := t.byName[name]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("machine %q: %w", name, ErrNoSuchMachine)
}

// finalize takes a machine out of the table; its processes are not touched. It
// is called with the lock held and does nothing if the machine has gone.
func (m *Manager) finalize(e *entry) {
	if !m.table.remove(e) {
		return
	}
	if err := errors.Join(m.dir.remove(e.Machine), e.close()); err != nil {
		m.log.Error("machine is not wholly forgotten", "machine", e.Name, "error", err)
	}
	m.log.Info("Machine "+e.Name+" terminated.", "MESSAGE_ID", messageEnded, "name", e.Name, "leader", e.Leader.PID)
	m.events.publish(Event{Kind: EventRemoved, Name: e.Name})
}
