package machineapi

import (
	"context"
	"errors"

	"berth/cmd/internal/bus"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

func (b *Bus) mappingMethods() []bus.Method {
	return []bus.Method{
		method("MapFromMachineUser", "name s, uid_inner u", "uid_outer u", b.mapFromBus(machined.UserIDs)),
		method("MapToMachineUser", "uid_outer u", "machine_name s, machine_path o, uid_inner u", b.mapToBus(machined.UserIDs)),
		method("MapFromMachineGroup", "name s, gid_inner u", "gid_outer u", b.mapFromBus(machined.GroupIDs)),
		method("MapToMachineGroup", "gid_outer u", "machine_name s, machine_path o, gid_inner u", b.mapToBus(machined.GroupIDs)),
	}
}

func (b *Bus) mapFromBus(kind machined.IDKind) any {
	return func(ctx context.Context, _ *bus.Call, name string, inner uint32) (uint32, error) {
		outer, err := b.Manager.MapFrom(ctx, name, kind, inner)
		return outer, mappingError(kind, err)
	}
}

func (b *Bus) mapToBus(kind machined.IDKind) any {
	return func(ctx context.Context, _ *bus.Call, outer uint32) (string, dbus.ObjectPath, uint32, error) {
		m, inner, err := b.Manager.MapTo(ctx, kind, outer)
		return m.Name, machinePath(m.Name), inner, mappingError(kind, err)
	}
}

// mappingError names what only these methods call so: a machine that is no
// container is a wrong argument here.
func mappingError(kind machined.IDKind, err error) error {
	switch {
	case errors.Is(err, machined.ErrNoMapping), errors.Is(err, machined.ErrHostID):
		name := BusName + ".NoSuchUserMapping"
		if kind == machined.GroupIDs {
			name = BusName + ".NoSuchGroupMapping"
		}
		return &bus.Error{Name: name, Err: err}
	case errors.Is(err, machined.ErrNotSupported):
		return &bus.Error{Name: bus.ErrorInvalidArgs, Err: err}
	}
	return busError(err)
}
