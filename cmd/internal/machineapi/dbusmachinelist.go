package machineapi

import (
	"context"
	"sync"

	"berth/cmd/internal/bus"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// busMachineEntry is an entry of ListMachines; the fields are in the order of
// the wire. Nothing in it changes as long as the machine is there.
type busMachineEntry struct {
	Name, Class, Service string
	Path                 dbus.ObjectPath
}

// machineList is the reply to ListMachines, which is made once for each change.
type machineList struct {
	mu      sync.Mutex
	made    bool
	changes uint64 // at which it was made
	reply   bus.Encoded[[]busMachineEntry]
}

func (l *machineList) get(m *machined.Manager) (bus.Encoded[[]busMachineEntry], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes := m.Changes() // before the list: what comes in between is in it at worst
	if l.made && l.changes == changes {
		return l.reply, nil
	}
	list := []busMachineEntry{}
	for _, m := range m.List() {
		list = append(list, busMachineEntry{m.Name, string(m.Class), m.Service, machinePath(m.Name)})
	}
	reply, err := bus.Encode(list)
	l.made, l.changes, l.reply = err == nil, changes, reply
	return reply, err
}

func (b *Bus) listMachines(context.Context, *bus.Call) (bus.Encoded[[]busMachineEntry], error) {
	return b.list.get(b.Manager)
}
