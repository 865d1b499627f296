// Package machinebus speaks to the service manager of a machine, over the system
// bus inside it. Whoever answers there is a stranger: every call has an end, and
// nothing that comes back is believed beyond yes and no.
package machinebus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"berth/machined/busguard"

	"github.com/godbus/dbus/v5"
)

var (
	// ErrNoManager says that the machine has a bus but no systemd on it.
	ErrNoManager = errors.New("machine has no systemd on its bus")
	// ErrRefused says that the machine's systemd did not do what it was asked to.
	ErrRefused = errors.New("machine's systemd refuses")
)

// Socket is where a machine's system bus listens.
const Socket = "/run/dbus/system_bus_socket"

// patience is how long a machine may take to answer.
const patience = 25 * time.Second

// maxReply bounds an answer, of which hardly anything is looked at.
const maxReply = 64 << 10

const (
	managerName = "org.freedesktop.systemd1"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	managerCall = managerName + ".Manager."
)

// Bus is a connection to a machine's service manager, for a few calls.
type Bus struct {
	conn  *dbus.Conn
	guard *busguard.Guard
	stop  func() bool
}

// New takes over a connection to the machine's bus, where it is root, and logs
// in. The end of ctx ends the connection.
func New(ctx context.Context, socket *net.UnixConn) (*Bus, error) {
	deadline := time.Now().Add(patience)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	guard, err := busguard.New(socket, busguard.Options{MaxReply: maxReply})
	if err != nil {
		return nil, fmt.Errorf("connect to the bus of the machine: %w", err)
	}
	near := guard.Conn()
	b := &Bus{guard: guard, stop: context.AfterFunc(ctx, func() { _ = near.Close() })}
	err = near.SetDeadline(deadline)
	conn, dialErr := dbus.DialUnix(near)
	if err = errors.Join(err, dialErr); err != nil {
		b.stop()
		err = errors.Join(fmt.Errorf("connect to the bus of the machine: %w", err), near.Close())
		guard.Close()
		return nil, err
	}
	b.conn = conn
	// As the machine counts its users.
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal("0")})
	if err == nil {
		err = conn.Hello()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log in to the bus of the machine: %w", err), b.Close())
	}
	return b, nil
}

// Close ends the connection.
func (b *Bus) Close() error {
	b.stop()
	err := b.conn.Close()
	b.guard.Close()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("leave the bus of the machine: %w", err)
	}
	return nil
}

// StartUnit queues the start of a unit in place of what else was to be done with
// it.
func (b *Bus) StartUnit(ctx context.Context, unit string) error {
	return b.call(ctx, "start "+unit, "StartUnit", unit, "replace")
}

// Shell is a program on a terminal.
type Shell struct {
	// Number is that of the terminal, /dev/pts/N.
	Number int
	// Terminal is the machine's end of it; it stays the caller's.
	Terminal *os.File
	User     string
	Path     string
	Args     []string // from argv[0] on
	Env      []string // KEY=VALUE, in addition to what a login gives
}

// property is one of a transient unit.
type property struct {
	Name  string
	Value dbus.Variant
}

// command is one ExecStart=.
type command struct {
	Path          string
	Args          []string
	IgnoreFailure bool
}

// auxiliary is a further unit of a transient one; there are none.
type auxiliary struct {
	Name       string
	Properties []property
}

// StartShell runs the program in a session of its own.
func (b *Bus) StartShell(ctx context.Context, s Shell) error {
	unit := fmt.Sprintf("container-shell@%d.service", s.Number)
	return b.call(ctx, "start "+unit, "StartTransientUnit", unit, "fail", s.properties(), []auxiliary{})
}

func (s Shell) properties() []property {
	terminal := dbus.UnixFD(s.Terminal.Fd())
	list := []property{}
	for _, p := range []struct {
		name  string
		value any
	}{
		{"Description", "Shell for User " + s.User},
		{"StandardInputFileDescriptor", terminal},
		{"StandardOutputFileDescriptor", terminal},
		{"StandardErrorFileDescriptor", terminal},
		{"SendSIGHUP", true},
		{"IgnoreSIGPIPE", false},
		{"KillMode", "mixed"},
		{"TTYPath", fmt.Sprintf("/dev/pts/%d", s.Number)},
		{"TTYReset", true},
		{"UtmpIdentifier", fmt.Sprintf("pts/%d", s.Number)},
		{"UtmpMode", "user"},
		{"PAMName", "login"},
		{"WorkingDirectory", "-~"},
		{"User", s.User},
	} {
		list = append(list, property{p.name, dbus.MakeVariant(p.value)})
	}
	if len(s.Env) > 0 {
		list = append(list, property{"Environment", dbus.MakeVariant(s.Env)})
	}
	return append(list, property{"ExecStart", dbus.MakeVariant([]command{{s.Path, s.Args, true}})})
}

// call calls the service manager.
func (b *Bus) call(ctx context.Context, step, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := b.conn.Object(managerName, managerPath).CallWithContext(ctx, managerCall+method, 0, args...).Err
	refusal, ok := errors.AsType[dbus.Error](err)
	if !ok && err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	switch {
	case err == nil:
		return nil
	case refusal.Name == "org.freedesktop.DBus.Error.ServiceUnknown",
		refusal.Name == "org.freedesktop.DBus.Error.NameHasNoOwner",
		// Systemd that is installed and not running.
		strings.HasPrefix(refusal.Name, "org.freedesktop.DBus.Error.Spawn."):
		return fmt.Errorf("%s: %w", step, ErrNoManager)
	}
	// Neither the name nor the text may go on to others as it is.
	return fmt.Errorf("%s: %w: %.200q", step, ErrRefused, refusal.Error())
}
