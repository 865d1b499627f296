package machineapi

import (
	"context"
	"os"
	"slices"
	"syscall"

	"berth/machined"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sync/errgroup"
)

// atOnce bounds the questions that are under way at the same time.
const atOnce = 16

// Machines describes all machines, with what can be read inside them if the
// caller may.
func (c *BusClient) Machines(ctx context.Context) ([]Machine, error) {
	var rows []struct {
		Name, Class, Service string
		Path                 dbus.ObjectPath
	}
	if err := c.manager(ctx, "", "ListMachines", []any{&rows}); err != nil {
		return nil, err
	}
	list := make([]Machine, len(rows))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, row := range rows {
		list[i] = Machine{Name: row.Name, Class: machined.Class(row.Class), Service: row.Service}
		group.Go(func() error {
			c.lookInside(ctx, &list[i])
			return nil
		})
	}
	return list, group.Wait()
}

// lookInside adds what not every machine has and not everybody may know.
func (c *BusClient) lookInside(ctx context.Context, m *Machine) {
	var release map[string]string
	if c.manager(ctx, m.Name, "GetMachineOSRelease", []any{&release}, m.Name) == nil {
		m.OSRelease = sortedAssignments(release)
	}
	var addresses []struct {
		Family  int32
		Address []byte
	}
	if c.manager(ctx, m.Name, "GetMachineAddresses", []any{&addresses}, m.Name) == nil {
		for _, a := range addresses {
			wire := Address{Family: int(a.Family)}
			for _, b := range a.Address {
				wire.Address = append(wire.Address, int(b))
			}
			m.Addresses = append(m.Addresses, wire)
		}
	}
}

func sortedAssignments(fields map[string]string) (list []string) {
	for key, value := range fields {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return list
}

// Registered tells about one machine without looking inside it.
func (c *BusClient) Registered(ctx context.Context, name string) (Machine, error) {
	list, err := c.MachineProperties(ctx, name)
	if err != nil {
		return Machine{}, err
	}
	return describe(list).Machine, nil
}

// Describe tells about one machine, with what can be read inside it.
func (c *BusClient) Describe(ctx context.Context, name string) (Description, error) {
	list, err := c.MachineProperties(ctx, name)
	if err != nil {
		return Description{}, err
	}
	d := describe(list)
	c.lookInside(ctx, &d.Machine)
	var shift uint32
	if c.manager(ctx, name, "GetMachineUIDShift", []any{&shift}, name) == nil {
		d.UIDShift = &shift
	}
	return d, nil
}

// MachineProperties lists the properties of a machine.
func (c *BusClient) MachineProperties(ctx context.Context, name string) ([]Property, error) {
	var path dbus.ObjectPath
	if err := c.manager(ctx, name, "GetMachine", []any{&path}, name); err != nil {
		return nil, err
	}
	all, err := c.propertiesOf(ctx, object{BusName, path}, BusName+".Machine")
	return ordered(all, machineOrder), err
}

// ManagerProperties lists the properties of machined.
func (c *BusClient) ManagerProperties(ctx context.Context) ([]Property, error) {
	all, err := c.propertiesOf(ctx, machinedObject, busManagerName)
	return ordered(all, managerOrder), err
}

// Terminate ends a machine.
func (c *BusClient) Terminate(ctx context.Context, name string) error {
	return c.manager(ctx, name, "TerminateMachine", nil, name)
}

// Unregister makes machined forget a machine, whose processes go on.
func (c *BusClient) Unregister(ctx context.Context, name string) error {
	return c.manager(ctx, name, "UnregisterMachine", nil, name)
}

// Kill sends a signal to processes of a machine; whom may be empty for all.
func (c *BusClient) Kill(ctx context.Context, name string, whom machined.KillWhom, sig syscall.Signal) error {
	return c.manager(ctx, name, "KillMachine", nil, name, string(whom), int32(sig))
}

// Open opens a terminal in a machine.
func (c *BusClient) Open(ctx context.Context, s Session) (*os.File, error) {
	method, args := "OpenMachineLogin", []any{s.Machine}
	if s.Mode == OpenShell {
		method = "OpenMachineShell"
		args = append(args, s.User, s.Path, slices.Concat([]string{}, s.Args), slices.Concat([]string{}, s.Env))
	}
	var fd dbus.UnixFD
	var path string
	if err := c.manager(ctx, s.Machine, method, []any{&fd, &path}, args...); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Copy copies a file or a tree into a machine or out of it.
func (c *BusClient) Copy(ctx context.Context, f Files) error {
	method := "CopyFromMachine"
	if f.Into {
		method = "CopyToMachine"
	}
	args := []any{f.Machine, f.Source, f.Destination}
	if f.Replace {
		method, args = method+"WithFlags", append(args, uint64(1))
	}
	return c.manager(ctx, f.Machine, method, nil, args...)
}

// Bind mounts a path of the host in a machine.
func (c *BusClient) Bind(ctx context.Context, b Bind) error {
	return c.manager(ctx, b.Machine, "BindMountMachine", nil, b.Machine, b.Source, b.Destination, b.ReadOnly, b.Mkdir)
}

// Removal returns a channel that is closed when the machine is no more. It must
// be asked for before what is to end with the machine. The end of ctx ends it too.
func (c *BusClient) Removal(ctx context.Context, name string) (<-chan struct{}, error) {
	rule := []dbus.MatchOption{
		dbus.WithMatchSender(BusName), dbus.WithMatchInterface(busManagerName),
		dbus.WithMatchMember("MachineRemoved"), dbus.WithMatchArg(0, name),
	}
	signals := make(chan *dbus.Signal, atOnce)
	c.conn.Signal(signals)
	if err := c.conn.AddMatchSignalContext(ctx, rule...); err != nil {
		return nil, callError(ctx, "AddMatch", err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case s, open := <-signals:
				if !open || s.Name == busManagerName+".MachineRemoved" && len(s.Body) > 0 && s.Body[0] == name {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return gone, nil
}
