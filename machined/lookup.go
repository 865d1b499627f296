package machined

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// List returns all machines, ".host" first and the others by name.
func (m *Manager) List() []Machine {
	m.mu.Lock()
	list := make([]Machine, 0, len(m.table.byName)+1)
	for _, e := range m.table.byName {
		list = append(list, e.clone())
	}
	m.mu.Unlock()
	slices.SortFunc(list, func(a, b Machine) int { return cmp.Compare(a.Name, b.Name) })
	if host, err := m.Find(HostName); err == nil {
		list = slices.Insert(list, 0, host)
	}
	return list
}

// Changes is another number whenever a machine has come or gone: what was made of
// [Manager.List] after it stays right as long as it stays the same, but for the
// state of machines.
func (m *Manager) Changes() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.table.changes
}

// Gone returns the names of the machines of an earlier Manager that had ended when
// this one began: before anybody could subscribe, but for [Config.OnEvent].
func (m *Manager) Gone() []string { return slices.Clone(m.gone) }

// Find returns the machine of that name; [ErrNoSuchMachine].
func (m *Manager) Find(name string) (Machine, error) {
	if name == HostName && m.config.Host {
		return m.host.clone(), nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.table.find(name)
	if err != nil {
		return Machine{}, err
	}
	return e.clone(), nil
}

// FindToEnd is [Manager.Find] for who wants to end the machine: it may also be one
// that is being started here, of which only name, class and owner are known yet.
func (m *Manager) FindToEnd(name string) (Machine, error) {
	found, err := m.Find(name)
	if err == nil {
		return found, nil
	}
	m.mu.Lock()
	r := m.runs[name]
	m.mu.Unlock()
	if r == nil || !r.isBooting() {
		return Machine{}, err
	}
	return Machine{Name: name, Class: ClassContainer, UID: uint32(os.Geteuid()), State: StateOpening}, nil
}

// maxAncestors bounds the way up; the kernel's own limit is 32 PID namespaces
// and no limit of generations.
const maxAncestors = 4096

// FindByPID is [Manager.FindByProcess] for whatever process has that PID now.
func (m *Manager) FindByPID(ctx context.Context, pid int) (Machine, error) {
	return m.FindByProcess(ctx, ProcessRef{ProcessID: ProcessID{PID: pid}})
}

// FindByProcess returns the machine that a process belongs to: the one it leads,
// or whose unit it is in, or else the same for its parent, and so on.
// [ErrNoMachineForPID], also if there is no such process.
func (m *Manager) FindByProcess(ctx context.Context, ref ProcessRef) (Machine, error) {
	none := fmt.Errorf("process %d: %w", ref.PID, ErrNoMachineForPID)
	for range maxAncestors {
		found, parent, err := m.findStep(ctx, ref)
		if errors.Is(err, ErrNoSuchProcess) {
			break
		}
		if err != nil {
			return Machine{}, fmt.Errorf("find machine of process %d: %w", ref.PID, err)
		}
		if found != nil {
			return *found, nil
		}
		if parent <= 1 {
			break
		}
		ref = ProcessRef{ProcessID: ProcessID{PID: parent}}
	}
	return Machine{}, none
}

// findStep looks at one process, which is held so that its number stays its own.
func (m *Manager) findStep(ctx context.Context, ref ProcessRef) (_ *Machine, parent int, err error) {
	p, err := ref.open()
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if p.PID <= 1 {
		return nil, 0, nil
	}
	unit, err := m.units.UnitOf(ctx, p.PID)
	if err != nil {
		return nil, 0, err
	}
	parent, err = parentOf(p.PID)
	if err == nil && !p.Alive() {
		err = ErrNoSuchProcess
	}
	if err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.table.byLeader[p.PID]
	if e == nil || e.Leader != p.ProcessID {
		e = m.table.byUnit[unit.Name]
	}
	if e == nil {
		return nil, parent, nil
	}
	found := e.clone()
	return &found, 0, nil
}

func parentOf(pid int) (int, error) {
	fields, err := statFields(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(fields[1]))
}

// statFields returns the fields of /proc/PID/stat (proc_pid_stat(5)) from the
// third on, the state.
func statFields(pid int) ([][]byte, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoSuchProcess
	}
	if err != nil {
		return nil, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // the name may hold anything
	if len(fields) < 20 {
		return nil, fmt.Errorf("read state of process %d: %d fields", pid, len(fields))
	}
	return fields, nil
}
