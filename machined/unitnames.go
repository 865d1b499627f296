package machined

import (
	"path"
	"strings"
)

// sharedUnit reports whether the unit always holds more than one machine: a
// session, the services of a user, the service manager itself. Ending a machine
// must never end such a unit.
func sharedUnit(unit string) bool {
	return strings.HasPrefix(unit, "session-") && strings.HasSuffix(unit, ".scope") ||
		strings.HasPrefix(unit, "user@") && strings.HasSuffix(unit, ".service") ||
		unit == "init.scope"
}

// ofMachine is where a machine is whose leader is in the given place: a service
// manager that has come up inside moves itself further down.
func (u Unit) ofMachine() Unit {
	if path.Base(u.Subgroup) == "init.scope" {
		if u.Subgroup = path.Dir(u.Subgroup); u.Subgroup == "." {
			u.Subgroup = ""
		}
	}
	return u
}

// ownsWholeUnit reports whether every process of the unit belongs to m. A plain
// user is believed that only of a scope that was made for the machine: the
// process may run in a system service, as cron jobs do.
func (m Machine) ownsWholeUnit() bool {
	return m.Unit != "" && m.Subgroup == "" && !m.shared && !sharedUnit(m.Unit) && (m.UID == 0 || m.Unit == ScopeName(m.Name))
}

// mayStopUnit reports whether the unit is there for the sake of m alone: all of
// it is m's, or its name says so and the subgroup only keeps the supervisor
// apart.
func (m Machine) mayStopUnit() bool {
	return m.ownsWholeUnit() || !m.shared && m.hasUnitOfItsName()
}

func (m Machine) hasUnitOfItsName() bool {
	switch m.Unit {
	// Names of machines need no escaping in those of instances.
	case ScopeName(m.Name), serviceName(m.Name), "systemd-nspawn@" + m.Name + ".service", "systemd-vmspawn@" + m.Name + ".service":
		return true
	}
	return false
}
