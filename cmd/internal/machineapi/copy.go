package machineapi

import (
	"context"
	"fmt"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"
	"berth/machined"
)

// copyReplace is the one flag of CopyFromWithFlags and CopyToWithFlags.
const copyReplace = 1

// containerOnly refuses what only containers can do.
func containerOnly(m machined.Machine) error {
	if m.Class == machined.ClassContainer {
		return nil
	}
	return fmt.Errorf("machine %s is no container: %w", m.Name, machined.ErrNotSupported)
}

// pathDetails are the details of operations on two paths.
func pathDetails(machine, verb, source, destination string) map[string]string {
	about := details(machine, verb)
	about["src"], about["dest"] = source, destination
	return about
}

type copying func(ctx context.Context, name string, r machined.CopyRequest) error

func (b *Bus) copyBus(ctx context.Context, call *bus.Call, do copying, name, source, destination string, flags uint64) error {
	if flags&^copyReplace != 0 {
		return invalidArgs("unknown flags %#x", flags&^copyReplace)
	}
	m, err := b.findPaths(ctx, call, name, "copy", source, &destination)
	if err != nil {
		return err
	}
	request := machined.CopyRequest{Source: source, Destination: destination, Replace: flags&copyReplace != 0}
	// What was begun goes on when the caller leaves.
	return busError(do(m.Pin(call.Detach()), name, request)) //nolint:contextcheck // on purpose
}

// machineCopy and machineCopyFlags are methods of the manager, objectCopy and
// objectCopyFlags those of a machine object.
func (b *Bus) machineCopy(do copying) func(context.Context, *bus.Call, string, string, string) error {
	return func(ctx context.Context, call *bus.Call, name, source, destination string) error {
		return b.copyBus(ctx, call, do, name, source, destination, 0)
	}
}

func (b *Bus) machineCopyFlags(do copying) func(context.Context, *bus.Call, string, string, string, uint64) error {
	return func(ctx context.Context, call *bus.Call, name, source, destination string, flags uint64) error {
		return b.copyBus(ctx, call, do, name, source, destination, flags)
	}
}

func (b *Bus) objectCopy(name string, do copying) func(context.Context, *bus.Call, string, string) error {
	return func(ctx context.Context, call *bus.Call, source, destination string) error {
		return b.copyBus(ctx, call, do, name, source, destination, 0)
	}
}

func (b *Bus) objectCopyFlags(name string, do copying) func(context.Context, *bus.Call, string, string, uint64) error {
	return func(ctx context.Context, call *bus.Call, source, destination string, flags uint64) error {
		return b.copyBus(ctx, call, do, name, source, destination, flags)
	}
}

// paths are the parameters of operations on two paths.
type paths struct {
	lookup
	Source      string `json:"source"`
	Destination string `json:"destination"`
}

// findPaths is the same as of [Bus].
func (s machines) findPaths(ctx context.Context, call *varlink.Call, in *paths, verb string) (machined.Machine, error) {
	if in.Destination == "" {
		in.Destination = in.Source
	}
	if machined.CheckPath(in.Source) != nil {
		return machined.Machine{}, varlink.InvalidParameter("source")
	}
	if machined.CheckPath(in.Destination) != nil {
		return machined.Machine{}, varlink.InvalidParameter("destination")
	}
	m, err := s.find(ctx, call, in.lookup)
	if err == nil {
		err = wireError(containerOnly(m))
	}
	if err != nil {
		return m, err
	}
	about := pathDetails(m.Name, verb, in.Source, in.Destination)
	return m, s.authorize(ctx, call, actionManageMachines, about, in.Interactive)
}

func (s machines) copyFrom(ctx context.Context, call *varlink.Call) error {
	return s.copy(ctx, call, s.Manager.CopyFrom)
}

func (s machines) copyTo(ctx context.Context, call *varlink.Call) error {
	return s.copy(ctx, call, s.Manager.CopyTo)
}

func (s machines) copy(ctx context.Context, call *varlink.Call, do copying) error {
	var in struct {
		paths
		Replace bool `json:"replace"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	m, err := s.findPaths(ctx, call, &in.paths, "copy")
	if err != nil {
		return err
	}
	request := machined.CopyRequest{Source: in.Source, Destination: in.Destination, Replace: in.Replace}
	return wireFileError(do(m.Pin(call.Detach()), m.Name, request)) //nolint:contextcheck // see copyBus
}
