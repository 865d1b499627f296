package bus_test

import (
	"os"
	"testing"

	"github.com/godbus/dbus/v5"

	"berth/fixtures/await"
)

// Each of these is a message that the bus lets pass, and that would make the D-Bus
// library panic or lose a file.
func TestHostileCalls(t *testing.T) {
	p, _, client := start(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close() //nolint:errcheck // of a test
	fd := dbus.UnixFD(null.Fd())
	before, conn := openFDs(t), p.service.Conn()
	const peer = "org.freedesktop.DBus.Peer"
	for what, c := range map[string]struct {
		method string
		arg    any
		want   string
	}{
		"array of descriptors":          {iface + ".Join", []dbus.UnixFD{fd, fd}, "InvalidArgs"},
		"array in a variant":            {iface + ".Join", dbus.MakeVariant([]dbus.UnixFD{fd}), "InvalidArgs"},
		"dictionary of descriptors":     {iface + ".Join", map[string]dbus.UnixFD{"a": fd}, "InvalidArgs"},
		"descriptors in arrays":         {iface + ".Join", [][]dbus.UnixFD{{fd}}, "InvalidArgs"},
		"array in a method that is not": {"org.example.No.Such", []dbus.UnixFD{fd}, "InvalidArgs"},
		"descriptor for the library":    {peer + ".Ping", fd, "InvalidArgs"},
		"descriptor for nobody":         {"org.example.No.Such", fd, "UnknownInterface"},
		"descriptor deep inside": {
			iface + ".Join", map[string]dbus.Variant{"a": dbus.MakeVariant(dbus.MakeVariant(fd))}, "InvalidArgs",
		},
	} {
		err := client.Object(name, root).Call(c.method, 0, c.arg).Err
		if got := errorName(err); got != "org.freedesktop.DBus.Error."+c.want {
			t.Errorf("%s: %s (%v), want %s", what, got, err, c.want)
		}
		// No reply is expected, and none comes; nor for signals.
		client.Object(name, root).Call(c.method, dbus.FlagNoReplyExpected, c.arg)
	}
	signal := &dbus.Message{Type: dbus.TypeSignal, Body: []any{[]dbus.UnixFD{fd}}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(name), dbus.FieldPath: dbus.MakeVariant(root),
		dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant("Said"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.ParseSignatureMust("ah")),
	}}
	if err := client.Send(signal, nil).Err; err != nil {
		t.Fatal(err)
	}
	if err := client.Object(name, root).Call(peer+".Ping", 0).Err; err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if p.service.Conn() != conn {
		t.Error("the connection was lost")
	}
	await.Until(t, limit, "closed descriptors", func() bool { return openFDs(t) <= before+1 }) // one for the pidfd of the caller
}

func errorName(err error) string {
	if e, ok := err.(dbus.Error); ok { //nolint:errorlint // the library gives it as it is
		return e.Name
	}
	return ""
}
