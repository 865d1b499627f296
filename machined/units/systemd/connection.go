package systemd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"

	"berth/machined"
	"berth/machined/busguard"
)

// Names on the bus.
const (
	busName       = "org.freedesktop.systemd1"
	managerPath   = dbus.ObjectPath("/org/freedesktop/systemd1")
	unitPath      = managerPath + "/unit"
	managerName   = busName + ".Manager"
	unitName      = busName + ".Unit"
	serviceName   = busName + ".Service"
	jobName       = busName + ".Job"
	propertiesGet = "org.freedesktop.DBus.Properties.Get"

	errorPrefix    = "org.freedesktop.DBus.Error."
	noSuchUnit     = busName + ".NoSuchUnit"
	unitExists     = busName + ".UnitExists"
	noSuchProcess  = busName + ".NoSuchProcess"
	notReferenced  = busName + ".NotReferenced"
	subscribed     = busName + ".AlreadySubscribed"
	unknownObject  = errorPrefix + "UnknownObject"
	unknownMethod  = errorPrefix + "UnknownMethod"
	unknownProp    = errorPrefix + "UnknownProperty"
	readOnlyProp   = errorPrefix + "PropertyReadOnly"
	serviceUnknown = errorPrefix + "ServiceUnknown"
	noOwner        = errorPrefix + "NameHasNoOwner"
	noReply        = errorPrefix + "NoReply"
)

// How long is waited: for an answer of the service manager, for a service
// manager to come back, and before the bus is tried again.
const (
	callLimit = 25 * time.Second
	backLimit = 10 * time.Second
	firstWait = 100 * time.Millisecond
	maxWait   = 10 * time.Second
)

// manager is one service manager as it appears on one connection: its unique
// name is never given to another one. Signals of anybody else do not count, and
// calls never go to whoever takes its place.
type manager struct {
	conn  *dbus.Conn
	owner string
}

func (m *manager) call(ctx context.Context, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return m.conn.Object(m.owner, path).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
}

// run keeps the connection until Close.
func (b *Backend) run() {
	delay := firstWait
	for b.ctx.Err() == nil {
		err := b.serve()
		b.set(nil, err)
		if err == nil {
			b.log.Info("connection to the service manager was lost")
			delay = firstWait
		}
		timer := time.NewTimer(delay)
		select {
		case <-b.ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		delay = min(2*delay, maxWait)
	}
}

// serve returns nil after a connection that worked has ended.
func (b *Backend) serve() (err error) {
	guard, err := busguard.Dial(b.ctx, b.address, busguard.Options{Logger: b.log})
	if err != nil {
		return fmt.Errorf("connect to %s: %w", b.address, err)
	}
	defer guard.Close()
	conn, err := dbus.ConnectUnix(guard.Conn(), dbus.WithContext(b.ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", b.address, err)
	}
	signals := make(chan *dbus.Signal)
	conn.Signal(signals)
	defer func() {
		_ = conn.Close() // it has nothing to write
		for range signals {
			// The library closes the channel once it has let go of it.
		}
	}()
	if err := b.listen(conn); err != nil {
		return err
	}
	var owner string
	err = conn.BusObject().CallWithContext(b.ctx, "org.freedesktop.DBus.GetNameOwner", 0, busName).Store(&owner)
	if err != nil && errorName(err) != noOwner {
		return fmt.Errorf("find service manager: %w", err)
	}
	if err := b.arrived(conn, owner); err != nil {
		return err
	}
	for s := range signals {
		if err := b.dispatch(conn, s); err != nil {
			return err
		}
	}
	return nil
}

// listen asks the bus for the signals that matter. Properties are only of
// interest for units, of which the first argument tells.
func (b *Backend) listen(conn *dbus.Conn) error {
	matches := [][]dbus.MatchOption{
		{
			dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, busName),
		},
		{
			dbus.WithMatchSender(busName), dbus.WithMatchInterface("org.freedesktop.DBus.Properties"),
			dbus.WithMatchMember("PropertiesChanged"), dbus.WithMatchPathNamespace(unitPath), dbus.WithMatchArg(0, unitName),
		},
	}
	for _, member := range []string{"JobRemoved", "UnitRemoved", "Reloading"} {
		matches = append(matches, []dbus.MatchOption{
			dbus.WithMatchSender(busName), dbus.WithMatchInterface(managerName), dbus.WithMatchMember(member),
		})
	}
	for _, match := range matches {
		if err := conn.AddMatchSignalContext(b.ctx, match...); err != nil {
			return fmt.Errorf("subscribe on the bus: %w", err)
		}
	}
	return nil
}

// arrived is told which connection is the service manager's, "" if none is.
func (b *Backend) arrived(conn *dbus.Conn, owner string) error {
	b.set(nil, nil)
	if owner == "" {
		return nil
	}
	m := &manager{conn, owner}
	err := m.call(b.ctx, managerPath, managerName+".Subscribe").Err
	if err != nil && errorName(err) != subscribed {
		return fmt.Errorf("subscribe to the service manager: %w", err)
	}
	// A reference is lost with the connection that took it, ours or its.
	if err := errors.Join(b.readRoot(m), b.adopt(m)); err != nil {
		return err
	}
	b.set(m, nil)
	b.catchUp(m)
	return nil
}

// readRoot finds out where the service manager's cgroups begin, which in a
// container may be below the root of the tree that is seen.
func (b *Backend) readRoot(m *manager) error {
	var root string
	if err := m.call(b.ctx, managerPath, propertiesGet, managerName, "ControlGroup").Store(&root); err != nil {
		return fmt.Errorf("find cgroups of the service manager: %w", err)
	}
	if root == "/" {
		root = ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.root = root
	return nil
}

func (b *Backend) set(m *manager, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.manager = m
	if err != nil {
		if b.lastErr == nil || b.lastErr.Error() != err.Error() {
			b.log.Debug("no service manager", "error", err)
		}
		b.lastErr = err
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// find returns the service manager, waiting for one if it is just away.
func (b *Backend) find(ctx context.Context) (*manager, error) {
	timer := time.NewTimer(backLimit)
	defer timer.Stop()
	for {
		b.mu.Lock()
		m, changed, lastErr := b.manager, b.changed, b.lastErr
		b.mu.Unlock()
		if m != nil {
			return m, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), ErrUnavailable, lastErr)
		case <-b.ctx.Done():
			return nil, machined.ErrClosed
		case <-timer.C:
			return nil, errors.Join(ErrUnavailable, lastErr)
		}
	}
}

// gone takes note that calls do not get to m any more.
func (b *Backend) gone(m *manager) {
	b.mu.Lock()
	current := b.manager == m
	b.mu.Unlock()
	if current {
		b.set(nil, nil)
	}
}
