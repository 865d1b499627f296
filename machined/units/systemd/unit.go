package systemd

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"

	"berth/machined"
)

// unit is one life of a unit: another one may get its name later.
type unit struct {
	name       string
	path       dbus.ObjectPath
	invocation string     // id of this life, "" if not known
	told       bool       // watchers are told of its end
	held       *dbus.Conn // the connection that has a reference, nil if none has
	ended      chan struct{}
	removed    chan struct{} // closed when the service manager has forgotten it
}

// over reports whether a unit in the given ActiveState has no processes any more.
func over(state string) bool { return state == "inactive" || state == "failed" }

// look returns the ActiveState of a loaded unit; [noSuchUnit].
func (b *Backend) look(ctx context.Context, name string) (state string, err error) {
	var path dbus.ObjectPath
	if err := b.call(ctx, "GetUnit", name).Store(&path); err != nil {
		return "", err
	}
	return property[string](ctx, b, path, unitName, "ActiveState")
}

// track returns the unit of that name, followed until its end, nil if none is
// loaded. own says that it was made here just now, with a reference.
func (b *Backend) track(ctx context.Context, name string, own bool) (*unit, error) {
	b.mu.Lock()
	u := b.byName[name]
	b.mu.Unlock()
	if u != nil {
		return u, nil
	}
	var path dbus.ObjectPath
	err := b.call(ctx, "GetUnit", name).Store(&path)
	if hasName(err, noSuchUnit) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find unit: %w", err)
	}
	u = b.add(name, path, own)
	return u, b.refresh(ctx, u)
}

// Follow implements [machined.Units].
func (b *Backend) Follow(ctx context.Context, unit machined.Unit) (active bool, err error) {
	if err := checkName(unit.Name); err != nil {
		return false, err
	}
	u, err := b.track(ctx, unit.Name, false)
	if err != nil {
		return false, fmt.Errorf("follow unit %s: %w", unit.Name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if u == nil || b.byName[u.name] != u {
		return false, nil
	}
	u.told = true
	return true, nil
}

func (b *Backend) add(name string, path dbus.ObjectPath, own bool) *unit {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u := b.byName[name]; u != nil {
		return u
	}
	u := &unit{name: name, path: path, told: own, ended: make(chan struct{}), removed: make(chan struct{})}
	if own && b.manager != nil {
		u.held = b.manager.conn
	}
	b.byName[name], b.byPath[path] = u, u
	return u
}

// refresh asks how a unit is. It must be followed already, so that nothing falls
// between the question and the signals.
func (b *Backend) refresh(ctx context.Context, u *unit) error {
	id, err := property[[]byte](ctx, b, u.path, unitName, "InvocationID")
	var state string
	if err == nil {
		state, err = property[string](ctx, b, u.path, unitName, "ActiveState")
	}
	if hasName(err, unknownObject, noSuchUnit) {
		state, err = "inactive", nil
	}
	if err != nil {
		return fmt.Errorf("look at unit %s: %w", u.name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.update(u, state, hex.EncodeToString(id))
	return nil
}

// update is called with the lock held when something is known of the unit that
// has u's name; "" is not known.
func (b *Backend) update(u *unit, state, invocation string) {
	if u.invocation == "" {
		u.invocation = invocation
	}
	if over(state) || invocation != "" && invocation != u.invocation {
		b.end(u)
	}
}

// end is called with the lock held when a life of a unit is over.
func (b *Backend) end(u *unit) {
	if b.byName[u.name] != u {
		return
	}
	delete(b.byName, u.name)
	close(u.ended)
	if m := b.manager; m != nil && u.held == m.conn && b.ctx.Err() == nil {
		b.wg.Go(func() { b.release(m, u) })
	}
	if u.told {
		for _, f := range b.watchers {
			f(u.name)
		}
	}
}

// forget is called with the lock held when a unit is not loaded any more.
func (b *Backend) forget(u *unit) {
	if b.byPath[u.path] == u {
		delete(b.byPath, u.path)
		close(u.removed)
	}
}

// release gives a reference back, upon which the service manager forgets the
// unit.
func (b *Backend) release(m *manager, u *unit) {
	err := m.call(b.ctx, managerPath, managerName+".UnrefUnit", u.name).Err
	if err != nil && !hasName(err, noSuchUnit, notReferenced) && b.ctx.Err() == nil {
		b.log.Debug("reference of a unit is not given back", "unit", u.name, "error", err)
	}
}

// listed is what a list says of a unit.
type listed struct {
	Name, Description, Load, Active, Sub, Following string
	Path                                            dbus.ObjectPath
	Job                                             uint32
	JobType                                         string
	JobPath                                         dbus.ObjectPath
}

// adopt follows the units that an earlier run made, once.
func (b *Backend) adopt(m *manager) error {
	b.mu.Lock()
	adopted := b.adopted
	b.adopted = true
	b.mu.Unlock()
	if adopted {
		return nil
	}
	var list []listed
	err := m.call(b.ctx, managerPath, managerName+".ListUnitsByPatterns", []string{},
		[]string{"machine-*.scope", "machine-*.service"}).Store(&list)
	if err != nil {
		return fmt.Errorf("look for units: %w", err)
	}
	for _, u := range list {
		if !over(u.Active) && strings.HasPrefix(u.Name, "machine-") {
			b.add(u.Name, u.Path, true)
		}
	}
	return nil
}

// catchUp asks for what was missed while nobody listened.
func (b *Backend) catchUp(m *manager) {
	b.mu.Lock()
	units := make([]*unit, 0, len(b.byName))
	for _, u := range b.byName {
		units = append(units, u)
	}
	for _, u := range b.byPath {
		if b.byName[u.name] != u {
			b.forget(u) // its removal may have been missed
		}
	}
	paths := make([]dbus.ObjectPath, 0, len(b.jobs.waiting))
	for path := range b.jobs.waiting {
		paths = append(paths, path)
	}
	b.mu.Unlock()
	for _, u := range units {
		if err := b.refresh(b.ctx, u); err != nil {
			b.log.Warn("state of a unit is not known", "unit", u.name, "error", err)
		}
	}
	for _, path := range paths {
		if err := m.call(b.ctx, path, propertiesGet, jobName, "State").Err; hasName(err, unknownObject) {
			b.mu.Lock()
			b.jobs.removed(path, jobLost)
			b.mu.Unlock()
		}
	}
}
