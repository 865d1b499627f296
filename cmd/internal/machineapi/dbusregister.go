package machineapi

import (
	"context"
	"fmt"
	"math"
	"os"

	"berth/cmd/internal/bus"
	"berth/machined"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// busProperty is an element of a(sv).
type busProperty struct {
	Name  string
	Value dbus.Variant
}

func (b *Bus) createMachine(ctx context.Context, call *bus.Call, name string, id []byte, service, class string, leader uint32, root string, scope []busProperty) (dbus.ObjectPath, error) {
	return b.registerOld(ctx, call, actionCreateMachine, name, id, service, class, leader, root, nil, scope...)
}

func (b *Bus) createMachineWithNetwork(ctx context.Context, call *bus.Call, name string, id []byte, service, class string, leader uint32, root string, interfaces []int32, scope []busProperty) (dbus.ObjectPath, error) {
	return b.registerOld(ctx, call, actionCreateMachine, name, id, service, class, leader, root, interfaces, scope...)
}

func (b *Bus) registerMachine(ctx context.Context, call *bus.Call, name string, id []byte, service, class string, leader uint32, root string) (dbus.ObjectPath, error) {
	return b.registerOld(ctx, call, actionRegisterMachine, name, id, service, class, leader, root, nil)
}

func (b *Bus) registerMachineWithNetwork(ctx context.Context, call *bus.Call, name string, id []byte, service, class string, leader uint32, root string, interfaces []int32) (dbus.ObjectPath, error) {
	return b.registerOld(ctx, call, actionRegisterMachine, name, id, service, class, leader, root, interfaces)
}

func (b *Bus) createMachineEx(ctx context.Context, call *bus.Call, name string, properties, scope []busProperty) (dbus.ObjectPath, error) {
	return b.registerNew(ctx, call, actionCreateMachine, name, properties, scope...)
}

func (b *Bus) registerMachineEx(ctx context.Context, call *bus.Call, name string, properties []busProperty) (dbus.ObjectPath, error) {
	return b.registerNew(ctx, call, actionRegisterMachine, name, properties)
}

// registerOld serves the calls with a fixed list of arguments.
func (b *Bus) registerOld(ctx context.Context, call *bus.Call, action, name string, id []byte, service, class string, leader uint32, root string, interfaces []int32, scope ...busProperty) (dbus.ObjectPath, error) {
	r := machined.Registration{
		Name: name, Service: service, Class: machined.Class(class), RootDirectory: root,
		NetworkInterfaces: widen(interfaces), ScopeProperties: scopeProperties(scope),
	}
	if leader > math.MaxInt32 {
		return "", invalidArgs("process %d cannot be", leader)
	}
	r.Leader.PID = int(leader)
	if err := setID(&r, id); err != nil {
		return "", err
	}
	return b.register(ctx, call, action, r)
}

func setID(r *machined.Registration, id []byte) error {
	if len(id) != 0 && len(id) != len(r.ID) {
		return invalidArgs("machine id has %d bytes, not %d", len(id), len(r.ID))
	}
	copy(r.ID[:], id)
	return nil
}

func widen(list []int32) []int {
	var out []int
	for _, n := range list {
		out = append(out, int(n))
	}
	return out
}

// scopeProperties go to the service manager as they came.
func scopeProperties(list []busProperty) []machined.Property {
	var out []machined.Property
	for _, p := range list {
		out = append(out, machined.Property{Name: p.Name, Value: p.Value})
	}
	return out
}

// registerNew serves the calls with a list of properties.
func (b *Bus) registerNew(ctx context.Context, call *bus.Call, action, name string, properties []busProperty, scope ...busProperty) (_ dbus.ObjectPath, err error) {
	r := machined.Registration{Name: name, ScopeProperties: scopeProperties(scope)}
	defer func() {
		if r.Leader.PIDFD != nil {
			_ = r.Leader.PIDFD.Close() // a pidfd has nothing to write
		}
	}()
	for _, p := range properties {
		if err := setProperty(&r, p); err != nil {
			return "", err
		}
	}
	if l := r.Leader; l.PIDFD == nil && (l.PID == 0) != (l.PIDFDID == 0) {
		return "", invalidArgs("LeaderPID and LeaderPIDFDID are only of use together")
	}
	return b.register(ctx, call, action, r)
}

// setProperty sets the field that a property names.
func setProperty(r *machined.Registration, p busProperty) error {
	var id []byte
	var pid uint32
	var pidfd dbus.UnixFD
	var interfaces []int32
	var class string
	targets := map[string]any{
		"Id": &id, "Service": &r.Service, "Class": &class, "LeaderPID": &pid, "LeaderPIDFD": &pidfd,
		"LeaderPIDFDID": &r.Leader.PIDFDID, "RootDirectory": &r.RootDirectory, "NetworkInterfaces": &interfaces,
		"VSockCID": &r.VSockCID, "SSHAddress": &r.SSHAddress, "SSHPrivateKeyPath": &r.SSHPrivateKeyPath,
	}
	target, ok := targets[p.Name]
	if !ok {
		return invalidArgs("no property %q of a machine can be set", p.Name)
	}
	if _, ok := p.Value.Value().(dbus.UnixFDIndex); ok {
		// The number of a descriptor that did not come along would be one of ours.
		return invalidArgs("property %s comes without its file descriptor", p.Name)
	}
	if want := dbus.SignatureOf(target); want != p.Value.Signature() {
		return invalidArgs("property %s has type %q, not %q", p.Name, p.Value.Signature(), want)
	}
	if err := p.Value.Store(target); err != nil {
		return invalidArgs("property %s: %w", p.Name, err)
	}
	switch p.Name {
	case "Id":
		return setID(r, id)
	case "Class":
		r.Class = machined.Class(class)
	case "NetworkInterfaces":
		r.NetworkInterfaces = widen(interfaces)
	case "LeaderPID":
		if pid == 0 || pid > math.MaxInt32 {
			return invalidArgs("process %d cannot be", pid)
		}
		r.Leader.PID = int(pid)
	case "VSockCID":
		if r.VSockCID == 0 || r.VSockCID == machined.AnyCID {
			return invalidArgs("no machine can have VSOCK CID %d", r.VSockCID)
		}
	case "LeaderPIDFD":
		return setPIDFD(r, pidfd)
	}
	return nil
}

// setPIDFD keeps a copy: the original is closed with the call.
func setPIDFD(r *machined.Registration, pidfd dbus.UnixFD) error {
	if r.Leader.PIDFD != nil {
		return invalidArgs("property LeaderPIDFD is given twice")
	}
	fd, err := unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("copy pidfd of leader: %w", err)
	}
	r.Leader.PIDFD = os.NewFile(uintptr(fd), "pidfd")
	return nil
}

func (b *Bus) register(ctx context.Context, call *bus.Call, action string, r machined.Registration) (dbus.ObjectPath, error) {
	r.AllocateUnit = action == actionCreateMachine
	caller := busCaller(call)
	r, err := b.Manager.CheckRegistration(caller, r)
	if err != nil {
		return "", busError(err)
	}
	about := map[string]string{"name": r.Name, "class": string(r.Class)}
	administrator, err := b.authorizeAsker(ctx, call, action, about)
	if err != nil {
		return "", err
	}
	caller.Administrator = administrator
	err = b.awaitSignal(ctx, r.Name, func() error {
		_, err := b.Manager.Register(ctx, caller, r)
		return err
	})
	return machinePath(r.Name), busError(err)
}
