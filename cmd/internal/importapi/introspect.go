package importapi

import (
	"io"

	"berth/cmd/internal/bus"
)

// Introspect writes the description of the objects at a path as a running daemon
// gives it, without one; that of transfers is at the path above them. "list" lists
// the paths and their interfaces.
func Introspect(out io.Writer, path string) error {
	b := &Bus{}
	return bus.IntrospectDeclared(out, path, []bus.Declared{
		{Path: managerPath, Object: &bus.Object{Interfaces: []*bus.Interface{b.manager()}}},
		{Path: transfersPath, Object: &bus.Object{Interfaces: []*bus.Interface{b.transfer(nil)}}},
		{Path: bus.LogControlPath, Object: bus.LogControl{}.Object()},
	})
}
