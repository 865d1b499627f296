package machineapi_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"berth/cmd/internal/machineapi"

	"github.com/godbus/dbus/v5"
)

// nodes are the labels below a path, by introspection.
func (h *busHost) nodes(path dbus.ObjectPath) (labels []string) {
	h.t.Helper()
	var text string
	if err := h.object(path).Call("org.freedesktop.DBus.Introspectable.Introspect", 0).Store(&text); err != nil {
		h.t.Errorf("introspect %s: %v", path, err)
	}
	var parsed struct {
		Nodes []struct {
			Name string `xml:"name,attr"`
		} `xml:"node"`
	}
	if err := xml.Unmarshal([]byte(text), &parsed); err != nil {
		h.t.Errorf("introspect %s: %v", path, err)
	}
	for _, n := range parsed.Nodes {
		labels = append(labels, n.Name)
	}
	return labels
}

// Every object is found from the root down, as long as it is there.
func TestNodesLeadToEveryObject(t *testing.T) {
	h := newBusHost(t)
	if err := os.MkdirAll(filepath.Join(h.pool, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "one-1", []byte{}, "", "container", l.pid(), "")
	for path, want := range map[dbus.ObjectPath][]string{
		"/": {"org"}, "/org": {"freedesktop"}, "/org/freedesktop": {"machine1"}, managerPath: {"image", "machine"},
		managerPath + "/machine": {"_2ehost", "one_2d1"}, managerPath + "/image": {"_2ehost", "tree"},
		machines + "one_2d1": nil, machines + "self": nil, imagesPath + "tree": nil,
	} {
		if path == machines+"self" { // this process is in no machine
			h.fails(h.object(path).Call("org.freedesktop.DBus.Introspectable.Introspect", 0), "org.freedesktop.DBus.Error.UnknownObject")
			continue
		}
		if got := h.nodes(path); !slices.Equal(got, want) {
			t.Errorf("below %s: %q, want %q", path, got, want)
		}
	}
	h.do("UnregisterMachine", "one-1")
	if got := h.nodes(managerPath + "/machine"); !slices.Equal(got, []string{"_2ehost"}) {
		t.Errorf("afterwards there are machines %q", got)
	}
}

// Without an interface the properties are those of all interfaces, which here is
// one besides those that have none.
func TestPropertiesOfAnyInterface(t *testing.T) {
	h := newBusHost(t)
	if err := os.MkdirAll(filepath.Join(h.pool, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, iface := range map[dbus.ObjectPath]string{
		managerPath: managerIface, machines + "_2ehost": machineIface, imagesPath + "tree": imageIface,
	} {
		all := h.properties(path)
		for _, name := range []string{iface, "org.freedesktop.DBus.Properties"} {
			var some map[string]any
			if err := h.object(path).Call("org.freedesktop.DBus.Properties.GetAll", 0, name).Store(&some); err != nil {
				t.Errorf("properties of %s %s: %v", path, name, err)
			}
			if name == iface && (len(some) == 0 || !reflect.DeepEqual(some, all)) || name != iface && len(some) > 0 {
				t.Errorf("properties of %s %s: %v, all: %v", path, name, some, all)
			}
		}
		for name, value := range all {
			var one any
			if err := h.object(path).Call("org.freedesktop.DBus.Properties.Get", 0, "", name).Store(&one); err != nil || !reflect.DeepEqual(one, value) {
				t.Errorf("property %s of %s: %v, %v, want %v", name, path, one, err, value)
			}
		}
	}
	h.fails(h.object(managerPath).Call("org.freedesktop.DBus.Properties.GetAll", 0, machineIface),
		"org.freedesktop.DBus.Error.UnknownInterface")
}

// No property is ever announced: those of machines are fixed but for the state, and
// whoever wants that asks.
func TestNothingIsAnnouncedButMachines(t *testing.T) {
	h := newBusHost(t)
	signals := h.signals()
	l := newLeader(t, 0)
	path := get[dbus.ObjectPath](h, "RegisterMachine", "one", []byte{}, "", "container", l.pid(), "")
	h.next(signals, "MachineNew", "one", path)
	h.do("TerminateMachine", "one")
	h.next(signals, "MachineRemoved", "one", path)
	if err := os.MkdirAll(filepath.Join(h.pool, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.do("RenameImage", "tree", "other")
	// What was sent before its reply has come.
	if err := h.object(managerPath).Call("org.freedesktop.DBus.Peer.Ping", 0).Err; err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-signals:
		t.Errorf("signal %+v of %s", s, machineapi.BusName)
	default:
	}
}
