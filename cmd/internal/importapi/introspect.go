package importapi

import (
	"fmt"
	"io"

	"berth/cmd/internal/bus"

	"github.com/godbus/dbus/v5"
)

// Introspect writes the description of the objects at a path as a running daemon
// gives it, without one; that of transfers is at the path above them. "list" lists
// the paths and their interfaces.
func Introspect(out io.Writer, path string) error {
	b := &Bus{}
	objects := []struct {
		path dbus.ObjectPath
		*bus.Object
	}{
		{managerPath, &bus.Object{Interfaces: []*bus.Interface{b.manager()}}},
		{transfersPath, &bus.Object{Interfaces: []*bus.Interface{b.transfer(nil)}}},
		{bus.LogControlPath, bus.LogControl{}.Object()},
	}
	for _, o := range objects {
		switch path {
		case "list":
			fmt.Fprintf(out, "%s\t%s\n", o.path, o.Interfaces[0].Name)
		case string(o.path):
			_, err := io.WriteString(out, bus.Introspect(o.Object, nil))
			return err
		}
	}
	if path != "list" {
		return fmt.Errorf("there is no object at %q: --bus-introspect=list lists them", path)
	}
	return nil
}
