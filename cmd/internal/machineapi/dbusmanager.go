package machineapi

import (
	"context"

	"berth/cmd/internal/bus"

	"github.com/godbus/dbus/v5"
)

const (
	busPath     dbus.ObjectPath = "/org/freedesktop/machine1"
	busMachines                 = busPath + "/machine"
	busImages                   = busPath + "/image"

	busManagerName = BusName + ".Manager"
	busMachineName = BusName + ".Machine"
	busImageName   = BusName + ".Image"
)

// Signatures that several methods share.
const (
	registerArgs = "name s, id ay, service s, class s, leader u, root_directory s"
	ptyArgs      = "pty h, pty_path s"
	sshArgs      = "ssh_address s, ssh_private_key_path s"
)

// busManager declares the interface of the manager object, in the order of the
// stock daemon.
func (b *Bus) busManager() *bus.Interface {
	methods := b.lookupMethods()
	methods = append(methods, b.registerMethods()...)
	methods = append(methods, b.machineMethods()...)
	methods = append(methods, b.imageMethods()...)
	return &bus.Interface{
		Name:       busManagerName,
		Properties: b.poolProperties(),
		Methods:    append(methods, b.mappingMethods()...),
		Signals: []bus.Signal{
			{Name: "MachineNew", Args: bus.Args("machine s, path o")},
			{Name: "MachineRemoved", Args: bus.Args("machine s, path o")},
		},
	}
}

func method(name, in, out string, fn any) bus.Method {
	return bus.Method{Name: name, In: bus.Args(in), Out: bus.Args(out), Func: fn}
}

func (b *Bus) lookupMethods() []bus.Method {
	return []bus.Method{
		method("GetMachine", "name s", "machine o", b.getMachine),
		method("GetImage", "name s", "image o", b.getImage),
		method("GetMachineByPID", "pid u", "machine o", b.getMachineByPID),
		method("ListMachines", "", "machines a(ssso)", b.listMachines),
		method("ListImages", "", "images a(ssbttto)", b.listBusImages),
	}
}

func (b *Bus) registerMethods() []bus.Method {
	return []bus.Method{
		method("CreateMachine", registerArgs+", scope_properties a(sv)", "path o", b.createMachine),
		method("CreateMachineWithNetwork", registerArgs+", ifindices ai, scope_properties a(sv)", "path o", b.createMachineWithNetwork),
		method("CreateMachineEx", "name s, properties a(sv), scope_properties a(sv)", "path o", b.createMachineEx),
		method("RegisterMachine", registerArgs, "path o", b.registerMachine),
		method("RegisterMachineWithNetwork", registerArgs+", ifindices ai", "path o", b.registerMachineWithNetwork),
		method("RegisterMachineEx", "name s, properties a(sv)", "path o", b.registerMachineEx),
		method("UnregisterMachine", "name s", "", b.unregisterMachine),
	}
}

// machineMethods are those that machine objects have too. What the core cannot
// do has no handler, and answers NotSupported.
func (b *Bus) machineMethods() []bus.Method {
	return []bus.Method{
		method("TerminateMachine", "id s", "", b.terminateMachine),
		method("KillMachine", "name s, whom s, signal i", "", b.killMachine),
		method("GetMachineAddresses", "name s", "addresses a(iay)", b.machineAddresses),
		method("GetMachineSSHInfo", "name s", sshArgs, b.machineSSHInfo),
		method("GetMachineOSRelease", "name s", "fields a{ss}", b.machineOSRelease),
		method("OpenMachinePTY", "name s", ptyArgs, b.openMachinePTY),
		method("OpenMachineLogin", "name s", ptyArgs, b.openMachineLogin),
		method("OpenMachineShell", "name s, user s, path s, args as, environment as", ptyArgs, b.openMachineShell),
		method("BindMountMachine", "name s, source s, destination s, read_only b, mkdir b", "", b.bindMachine),
		method("CopyFromMachine", "name s, source s, destination s", "", b.machineCopy(b.Manager.CopyFrom)),
		method("CopyToMachine", "name s, source s, destination s", "", b.machineCopy(b.Manager.CopyTo)),
		method("CopyFromMachineWithFlags", "name s, source s, destination s, flags t", "", b.machineCopyFlags(b.Manager.CopyFrom)),
		method("CopyToMachineWithFlags", "name s, source s, destination s, flags t", "", b.machineCopyFlags(b.Manager.CopyTo)),
		method("OpenMachineRootDirectory", "name s", "fd h", b.openRootDirectory),
		method("GetMachineUIDShift", "name s", "shift u", b.machineUIDShift),
	}
}

func (b *Bus) imageMethods() []bus.Method {
	return []bus.Method{
		method("RemoveImage", "name s", "", b.removeBusImage),
		method("RenameImage", "name s, new_name s", "", b.renameBusImage),
		method("CloneImage", "name s, new_name s, read_only b", "", b.cloneBusImage),
		method("MarkImageReadOnly", "name s, read_only b", "", b.markBusImage),
		method("GetImageHostname", "name s", "hostname s", b.imageHostname),
		method("GetImageMachineID", "name s", "id ay", b.imageMachineID),
		method("GetImageMachineInfo", "name s", "machine_info a{ss}", b.imageMachineInfo),
		method("GetImageOSRelease", "name s", "os_release a{ss}", b.imageOSRelease),
		method("SetPoolLimit", "size t", "", b.limitBusPool),
		method("SetImageLimit", "name s, size t", "", b.limitBusImage),
		method("CleanPool", "mode s", "images a(st)", b.cleanBusPool),
	}
}

// constant is a property that never changes.
func constant(name, signature string, value any) bus.Property {
	return bus.Property{
		Name: name, Type: signature, Emits: bus.EmitsConst,
		Get: func(context.Context) (any, error) { return value, nil },
	}
}

// silent is a property whose changes are not announced.
func silent(name, signature string, value any) bus.Property {
	p := constant(name, signature, value)
	p.Emits = bus.EmitsFalse
	return p
}
