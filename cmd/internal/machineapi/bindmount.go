package machineapi

import (
	"context"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"
	"berth/machined"
)

// findPaths finds a container on behalf of somebody who may manage all
// machines, and checks the two paths of what is to be done to it: the owner of
// one machine may not get at the host with it. An empty destination becomes the
// same as the source.
func (b *Bus) findPaths(ctx context.Context, call *bus.Call, name, verb, source string, destination *string) (machined.Machine, error) {
	m, err := b.Manager.Find(name)
	if err == nil {
		err = containerOnly(m)
	}
	if *destination == "" {
		*destination = source
	}
	for _, path := range []string{source, *destination} {
		if err == nil {
			err = machined.CheckPath(path)
		}
	}
	if err != nil {
		return m, busError(err)
	}
	return m, b.authorizeBus(ctx, call, actionManageMachines, pathDetails(name, verb, source, *destination))
}

func (b *Bus) bindMachine(ctx context.Context, call *bus.Call, name, source, destination string, readOnly, mkdir bool) error {
	m, err := b.findPaths(ctx, call, name, "bind", source, &destination)
	if err != nil {
		return err
	}
	return busError(b.Manager.BindMount(m.Pin(ctx), name, machined.BindRequest{
		Source: source, Destination: destination, ReadOnly: readOnly, Mkdir: mkdir,
	}))
}

func (b *Bus) objectBind(name string) func(context.Context, *bus.Call, string, string, bool, bool) error {
	return func(ctx context.Context, call *bus.Call, source, destination string, readOnly, mkdir bool) error {
		return b.bindMachine(ctx, call, name, source, destination, readOnly, mkdir)
	}
}

func (s machines) bindMount(ctx context.Context, call *varlink.Call) error {
	var in struct {
		paths
		ReadOnly bool `json:"readOnly"`
		Mkdir    bool `json:"mkdir"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	m, err := s.findPaths(ctx, call, &in.paths, "bind")
	if err != nil {
		return err
	}
	return wireFileError(s.Manager.BindMount(m.Pin(ctx), m.Name, machined.BindRequest{
		Source: in.Source, Destination: in.Destination, ReadOnly: in.ReadOnly, Mkdir: in.Mkdir,
	}))
}
