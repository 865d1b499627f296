package bus

import (
	"fmt"
	"io"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Declared is an object as a daemon declares it. Of those that come and go it stands
// for all, with the path above them.
type Declared struct {
	Path dbus.ObjectPath
	*Object
}

// IntrospectDeclared writes what the stock daemons write for --bus-introspect=: the
// description of the object at path, or for "list" all paths and interfaces. It
// needs no bus.
func IntrospectDeclared(out io.Writer, path string, all []Declared) error {
	var text strings.Builder
	for _, o := range all {
		switch path {
		case "list":
			fmt.Fprintf(&text, "%s\t%s\n", o.Path, o.Interfaces[0].Name)
		case string(o.Path):
			text.WriteString(Introspect(o.Object, labelsBelow(o.Path, all)))
		}
	}
	if text.Len() == 0 {
		return fmt.Errorf("there is no object at %q: --bus-introspect=list lists them", path)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// labelsBelow are those of the objects directly below a path.
func labelsBelow(path dbus.ObjectPath, all []Declared) (labels []string) {
	for _, o := range all {
		if label, ok := strings.CutPrefix(string(o.Path), string(path)+"/"); ok && !strings.Contains(label, "/") {
			labels = append(labels, label)
		}
	}
	return labels
}
