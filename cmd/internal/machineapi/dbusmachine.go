package machineapi

import (
	"context"
	"errors"
	"os"

	"berth/cmd/internal/bus"
	"berth/machined"
)

// machineObjects are the objects of all machines.
type machineObjects struct{ *Bus }

var _ bus.Directory = machineObjects{}

// List gives the labels of all machines.
func (o machineObjects) List(context.Context) ([]string, error) {
	var labels []string
	for _, m := range o.Manager.List() {
		labels = append(labels, bus.EscapeLabel(m.Name))
	}
	return labels, nil
}

// ownMachine is the label by which a process finds the machine it is in.
const ownMachine = "self"

// Lookup finds a machine by its label.
func (o machineObjects) Lookup(ctx context.Context, call *bus.Call, label string) (*bus.Object, error) {
	var m machined.Machine
	var err error
	if label == ownMachine {
		m, err = o.Manager.FindByPID(ctx, call.Caller().PID)
	} else {
		m, err = o.Manager.Find(bus.UnescapeLabel(label))
	}
	switch {
	case errors.Is(err, machined.ErrNoSuchMachine), errors.Is(err, machined.ErrNoMachineForPID):
		return nil, nil
	case err != nil:
		return nil, busError(err)
	}
	return &bus.Object{Interfaces: []*bus.Interface{o.machineObject(m)}}, nil
}

func (b *Bus) machineObject(m machined.Machine) *bus.Interface {
	return &bus.Interface{Name: busMachineName, Properties: machineProperties(m), Methods: b.objectMethods(m.Name)}
}

func machineProperties(m machined.Machine) []bus.Property {
	interfaces := []int32{}
	for _, index := range m.NetworkInterfaces {
		interfaces = append(interfaces, int32(index))
	}
	scope := constant("Scope", "s", m.Unit) // what Unit was called when all were scopes
	scope.Hidden = true
	return []bus.Property{
		constant("Name", "s", m.Name),
		constant("Id", "ay", m.ID[:]),
		constant("Timestamp", "t", m.Realtime),
		constant("TimestampMonotonic", "t", m.Monotonic),
		constant("Service", "s", m.Service),
		constant("Unit", "s", m.Unit),
		constant("Subgroup", "s", m.Subgroup),
		constant("Leader", "u", uint32(m.Leader.PID)),
		constant("LeaderPIDFDId", "t", m.Leader.PIDFDID),
		constant("Supervisor", "u", uint32(m.Supervisor.PID)),
		constant("SupervisorPIDFDId", "t", m.Supervisor.PIDFDID),
		constant("Class", "s", string(m.Class)),
		constant("RootDirectory", "s", m.RootDirectory),
		constant("NetworkInterfaces", "ai", interfaces),
		constant("VSockCID", "u", m.VSockCID),
		constant("SSHAddress", "s", m.SSHAddress),
		constant("SSHPrivateKeyPath", "s", m.SSHPrivateKeyPath),
		silent("State", "s", string(m.State)),
		constant("UID", "u", m.UID),
		scope,
	}
}

// objectMethods are methods of the manager, for one machine.
func (b *Bus) objectMethods(name string) []bus.Method {
	return []bus.Method{
		method("Terminate", "", "", func(ctx context.Context, call *bus.Call) error {
			return b.terminateMachine(ctx, call, name)
		}),
		method("Kill", "whom s, signal i", "", func(ctx context.Context, call *bus.Call, whom string, signal int32) error {
			return b.killMachine(ctx, call, name, whom, signal)
		}),
		method("GetAddresses", "", "addresses a(iay)", func(ctx context.Context, call *bus.Call) ([]busAddress, error) {
			return b.machineAddresses(ctx, call, name)
		}),
		method("GetSSHInfo", "", sshArgs, func(ctx context.Context, call *bus.Call) (string, string, error) {
			return b.machineSSHInfo(ctx, call, name)
		}),
		method("GetOSRelease", "", "fields a{ss}", func(ctx context.Context, call *bus.Call) (map[string]string, error) {
			return b.machineOSRelease(ctx, call, name)
		}),
		method("GetUIDShift", "", "shift u", func(ctx context.Context, call *bus.Call) (uint32, error) {
			return b.machineUIDShift(ctx, call, name)
		}),
		method("OpenPTY", "", ptyArgs, func(ctx context.Context, call *bus.Call) (*os.File, string, error) {
			return b.openMachinePTY(ctx, call, name)
		}),
		method("OpenLogin", "", ptyArgs, func(ctx context.Context, call *bus.Call) (*os.File, string, error) {
			return b.openMachineLogin(ctx, call, name)
		}),
		method("OpenShell", "user s, path s, args as, environment as", ptyArgs,
			func(ctx context.Context, call *bus.Call, user, path string, args, environment []string) (*os.File, string, error) {
				return b.openMachineShell(ctx, call, name, user, path, args, environment)
			}),
		method("BindMount", "source s, destination s, read_only b, mkdir b", "", b.objectBind(name)),
		method("CopyFrom", "source s, destination s", "", b.objectCopy(name, b.Manager.CopyFrom)),
		method("CopyTo", "source s, destination s", "", b.objectCopy(name, b.Manager.CopyTo)),
		method("CopyFromWithFlags", "source s, destination s, flags t", "", b.objectCopyFlags(name, b.Manager.CopyFrom)),
		method("CopyToWithFlags", "source s, destination s, flags t", "", b.objectCopyFlags(name, b.Manager.CopyTo)),
		method("OpenRootDirectory", "", "fd h", func(ctx context.Context, call *bus.Call) (*os.File, error) {
			return b.openRootDirectory(ctx, call, name)
		}),
	}
}
