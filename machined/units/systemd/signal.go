package systemd

import (
	"encoding/hex"

	"github.com/godbus/dbus/v5"
)

// dispatch deals with one signal. An error means that the connection is of no
// use any more.
func (b *Backend) dispatch(conn *dbus.Conn, s *dbus.Signal) error {
	if s.Name == "org.freedesktop.DBus.NameOwnerChanged" {
		return b.ownerChanged(conn, s)
	}
	b.mu.Lock()
	m := b.manager
	known := m != nil && s.Sender == m.owner // anybody may send anything to anybody
	if known {
		b.apply(s)
	}
	b.mu.Unlock()
	if reloading := false; known && s.Name == managerName+".Reloading" && dbus.Store(s.Body, &reloading) == nil && !reloading {
		// Nothing is promised of what happened meanwhile.
		b.catchUp(m)
	}
	return nil
}

func (b *Backend) ownerChanged(conn *dbus.Conn, s *dbus.Signal) error {
	var name, before, after string
	err := dbus.Store(s.Body, &name, &before, &after)
	if err == nil && s.Sender == "org.freedesktop.DBus" && name == busName {
		return b.arrived(conn, after)
	}
	return nil
}

// apply is called with the lock held.
func (b *Backend) apply(s *dbus.Signal) {
	var path dbus.ObjectPath
	var name, iface, result string
	var id uint32
	var changed map[string]dbus.Variant
	var invalidated []string
	switch s.Name {
	case managerName + ".JobRemoved":
		if dbus.Store(s.Body, &id, &path, &name, &result) == nil {
			b.jobs.removed(path, result)
		}
	case managerName + ".UnitRemoved":
		if dbus.Store(s.Body, &name, &path) != nil {
			return
		}
		if u := b.byPath[path]; u != nil {
			b.end(u)
			b.forget(u)
		}
	case "org.freedesktop.DBus.Properties.PropertiesChanged":
		u := b.byPath[s.Path]
		if u == nil || dbus.Store(s.Body, &iface, &changed, &invalidated) != nil || iface != unitName {
			return
		}
		state, _ := changed["ActiveState"].Value().(string)
		invocation, _ := changed["InvocationID"].Value().([]byte)
		b.update(u, state, hex.EncodeToString(invocation))
	}
}
