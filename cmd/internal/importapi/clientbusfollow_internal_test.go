package importapi

import (
	"errors"
	"testing"

	"berth/importd"

	"github.com/godbus/dbus/v5"
)

// TestWatch: what systemd's importd says is understood, what is of other transfers
// is passed over.
func TestWatch(t *testing.T) {
	w := watch{id: 7, path: transferPath(7)}
	signal := func(path dbus.ObjectPath, name string, body ...any) *dbus.Signal {
		return &dbus.Signal{Path: path, Name: name, Body: body}
	}
	for _, s := range []*dbus.Signal{
		signal(transferPath(8), transferName+".LogMessage", uint32(30), "x"),
		signal(transferPath(8), transferName+".ProgressUpdate", 0.5),
		signal(managerPath, managerName+".TransferRemoved", uint32(8), transferPath(8), "done"),
		signal(managerPath, managerName+".TransferNew", uint32(7), transferPath(7)),
		signal(transferPath(7), transferName+".LogMessage", "of another type"),
		signal("/org/freedesktop/DBus", "org.freedesktop.DBus.NameOwnerChanged", BusName, "", ":1.7"),
	} {
		if u, over, err := w.see(s, true); u != (Update{}) || over || err != nil {
			t.Errorf("%+v: %+v, %v, %v", s, u, over, err)
		}
	}
	u, _, err := w.see(signal(transferPath(7), transferName+".LogMessage", uint32(24|3), "broken"), true)
	if err != nil || u.Log == nil || *u.Log != (importd.LogLine{Priority: 3, Message: "broken"}) {
		t.Errorf("a message with a facility: %+v, %v", u.Log, err)
	}
	for result, want := range map[string]string{"done": "", "canceled": importd.ErrCanceled.Error(), "failed": "broken"} {
		_, over, err := w.see(signal(managerPath, managerName+".TransferRemoved", uint32(7), transferPath(7), result), true)
		if !over || err == nil != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, %v", result, over, err)
		}
	}
	if _, over, err := w.see(signal("/", "org.freedesktop.DBus.NameOwnerChanged", BusName, ":1.7", ""), true); !over || !errors.Is(err, errGone) {
		t.Errorf("importd ended: %v, %v", over, err)
	}
	if _, over, err := w.see(nil, false); !over || err == nil {
		t.Errorf("the bus ended: %v, %v", over, err)
	}
}
