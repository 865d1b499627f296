package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// errLeft is why the context of a call ends when its sender leaves the bus.
var errLeft = errors.New("caller left the bus")

// sender is a connection that has called us. The bus never gives its name to
// another one, so what is known of it stays true.
type sender struct {
	caller Caller
	err    error // why caller is not known
	ctx    context.Context
	leave  context.CancelCauseFunc
	calls  int
	gone   bool
	// watched: the bus was asked to tell when it leaves.
	watched bool
	once    sync.Once
}

// senders knows who calls over one connection to the bus.
type senders struct {
	mu     sync.Mutex
	byName map[string]*sender
	calls  int
}

// Bounds of calls that run at the same time.
const (
	maxCalls       = 512
	maxCallsOfOne  = 128
	nameOwnerEvent = "org.freedesktop.DBus.NameOwnerChanged"
)

// enter finds the sender of a call, or reports false if there are too many
// calls. Each true is followed by one leave.
func (s *senders) enter(ctx context.Context, name string) (*sender, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.byName[name]
	if from == nil {
		from = &sender{caller: Caller{BusName: name}}
		from.ctx, from.leave = context.WithCancelCause(ctx)
		s.byName[name] = from
	}
	if s.calls >= maxCalls || from.calls >= maxCallsOfOne {
		return from, false
	}
	s.calls++
	from.calls++
	return from, true
}

func (s *senders) leave(from *sender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	from.calls--
	from.closeIfDone()
}

// find is nil for who has not called, or has left.
func (s *senders) find(name string) *sender {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

// drop ends the calls of a sender that left the bus, or is not known. It says true
// once if the bus still has a match rule for it.
func (s *senders) drop(from *sender) (watched bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name := from.caller.BusName; s.byName[name] == from {
		delete(s.byName, name)
	}
	from.gone = true
	from.leave(errLeft)
	from.closeIfDone()
	watched, from.watched = from.watched, false
	return watched
}

// watch notes that there is a match rule, which may have come too late.
func (s *senders) watch(from *sender) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from.watched = true
	if from.gone {
		return errLeft
	}
	return nil
}

// close forgets all senders when the connection to the bus has ended.
func (s *senders) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, from := range s.byName {
		from.gone = true
		from.leave(errLeft)
		from.closeIfDone()
	}
	clear(s.byName)
}

func (f *sender) closeIfDone() {
	if f.gone && f.calls == 0 && f.caller.PIDFD != nil {
		_ = f.caller.PIDFD.Close()
	}
}

// identify asks the bus once who the sender is, and to be told when it leaves.
func (s *senders) identify(ctx context.Context, conn *dbus.Conn, from *sender) error {
	from.once.Do(func() { from.err = s.ask(ctx, conn, from) })
	return from.err
}

func (s *senders) ask(ctx context.Context, conn *dbus.Conn, f *sender) error {
	name := f.caller.BusName
	// In this order: a sender that leaves in between is noticed one way or the
	// other. Whether the rule is there has to be known even when the sender is gone.
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchSender("org.freedesktop.DBus"),
		dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"),
		dbus.WithMatchArg(0, name)); err != nil {
		return fmt.Errorf("watch caller %s: %w", name, err)
	}
	if err := s.watch(f); err != nil {
		return fmt.Errorf("watch caller %s: %w", name, err)
	}
	var credentials map[string]dbus.Variant
	if err := conn.BusObject().CallWithContext(f.ctx, "org.freedesktop.DBus.GetConnectionCredentials", 0, name).
		Store(&credentials); err != nil {
		return fmt.Errorf("get credentials of caller %s: %w", name, err)
	}
	return f.caller.fill(credentials)
}

// fill reads the answer of the bus.
func (c *Caller) fill(credentials map[string]dbus.Variant) error {
	uid, ok := credentials["UnixUserID"].Value().(uint32)
	if !ok {
		return fmt.Errorf("bus does not tell the user of %s", c.BusName)
	}
	c.UID = uid
	if pid, ok := credentials["ProcessID"].Value().(uint32); ok {
		c.PID = int(pid)
	}
	if groups, ok := credentials["UnixGroupIDs"].Value().([]uint32); ok {
		c.Groups = groups
	}
	if fd, ok := credentials["ProcessFD"].Value().(dbus.UnixFD); ok {
		c.PIDFD = os.NewFile(uintptr(fd), "pidfd of "+c.BusName)
	} else if c.PID > 0 {
		// Brokers before 2023 do not tell. The sender is on the bus still, or
		// its calls will end at once: so the process most likely is too.
		if fd, err := unix.PidfdOpen(c.PID, 0); err == nil {
			c.PIDFD = os.NewFile(uintptr(fd), "pidfd of "+c.BusName)
		}
	}
	return nil
}

// forgetMessage takes back what ask asked of the bus.
func forgetMessage(name string) *dbus.Message {
	rule := "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus'," +
		"member='NameOwnerChanged',arg0='" + name + "'"
	return &dbus.Message{
		Type: dbus.TypeMethodCall, Flags: dbus.FlagNoReplyExpected, Body: []any{rule},
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant("org.freedesktop.DBus"),
			dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/DBus")),
			dbus.FieldInterface:   dbus.MakeVariant("org.freedesktop.DBus"),
			dbus.FieldMember:      dbus.MakeVariant("RemoveMatch"),
			dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(rule)),
		},
	}
}
