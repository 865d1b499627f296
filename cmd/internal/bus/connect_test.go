package bus_test

import (
	"errors"
	"os"
	"testing"

	"github.com/godbus/dbus/v5"

	"berth/cmd/internal/bus"
)

// Anybody may send messages that the library panics of, or that leave
// descriptors open. They reach nobody, and the next call is served.
func TestHostileDescriptors(t *testing.T) {
	p, _, client := start(t)
	object := client.Object(name, root)
	if err := object.Call(iface+".Announce", 0, uint32(0)).Err; err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	fd := dbus.UnixFD(os.Stdin.Fd())
	lists := []any{
		[]dbus.UnixFD{fd},
		map[string]dbus.UnixFD{"a": fd},
		dbus.MakeVariant([]dbus.UnixFD{fd, fd}),
		[]pair{{"x", dbus.MakeVariant(map[string]dbus.UnixFD{"a": fd})}},
		[][]dbus.UnixFD{{fd}},
	}
	for _, list := range lists {
		err := object.Call(iface+".Announce", 0, list).Err
		if e := (dbus.Error{}); !errors.As(err, &e) || e.Name != bus.ErrorInvalidArgs {
			t.Errorf("%v: %v", list, err)
		}
	}
	signal := &dbus.Message{Type: dbus.TypeSignal, Body: []any{fd}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(p.service.Conn().Names()[0]), dbus.FieldPath: dbus.MakeVariant(root),
		dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant("Said"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(fd)),
	}}
	for range 100 {
		client.Send(signal, nil)
	}
	if err := object.Call(iface+".Announce", 0, uint32(0)).Err; err != nil {
		t.Fatal(err)
	}
	if after := openFDs(t); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}
