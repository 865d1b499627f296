package main

import (
	"path/filepath"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/fixtures/ownhost"

	"github.com/godbus/dbus/v5"
)

// TestReadyOnTheBus: what the service manager starts when the daemon is ready finds
// it on the bus. A host without a bus is no reason to wait.
func TestReadyOnTheBus(t *testing.T) {
	u := newUserBench(t)
	ready := func(address string, seen func()) {
		cmd := u.command(filepath.Join(u.bin, "machined"), "--user")
		cmd.Env = append(cmd.Env, "DBUS_SESSION_BUS_ADDRESS="+address)
		ownhost.Listen(t).ReadyThen(cmd, seen)
	}
	ready("unix:path="+filepath.Join(u.run, "nothing"), func() {})
	address := "unix:path=" + filepath.Join(u.run, "bus")
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the bus may be gone
	ready(address, func() {
		var owned bool
		err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, machineapi.BusName).Store(&owned)
		if err != nil || !owned {
			t.Errorf("it is ready, but not on the bus: %v", err)
		}
	})
}
