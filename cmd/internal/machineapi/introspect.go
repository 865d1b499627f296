package machineapi

import (
	"io"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/machined"
)

// Introspect writes the description of the objects at a path as a running daemon
// gives it, without one; those of machines and of images are at the paths above
// them. "list" lists the paths and their interfaces.
func Introspect(out io.Writer, path string) error {
	b := &Bus{Service: &Service{}}
	return bus.IntrospectDeclared(out, path, []bus.Declared{
		{Path: busPath, Object: &bus.Object{Interfaces: []*bus.Interface{b.busManager()}}},
		{Path: busMachines, Object: &bus.Object{Interfaces: []*bus.Interface{b.machineObject(machined.Machine{})}}},
		{Path: busImages, Object: &bus.Object{Interfaces: []*bus.Interface{b.imageObject(images.Image{})}}},
		{Path: bus.LogControlPath, Object: bus.LogControl{}.Object()},
	})
}
