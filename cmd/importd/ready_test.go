package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"berth/cmd/internal/importapi"
	"berth/fixtures/ownhost"
	"berth/fixtures/privatebus"

	"github.com/godbus/dbus/v5"
)

// TestReadyOnTheBus: what the service manager starts when the daemon is ready finds
// it on the bus. A host without a bus is no reason to wait.
func TestReadyOnTheBus(t *testing.T) {
	b := newBench(t)
	if err := ownhost.Build(t.Context(), b.dir, "importd"); err != nil {
		t.Fatal(err)
	}
	address := "unix:path=" + b.path("bus")
	ready := func(seen func()) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(b.dir, "importd"))
		cmd.Env = append(cmd.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+address)
		ownhost.Listen(t).ReadyThen(cmd, seen)
	}
	ready(func() {})
	privatebus.StartAt(t, b.path("bus"))
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the bus may be gone
	ready(func() {
		var owned bool
		err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, importapi.BusName).Store(&owned)
		if err != nil || !owned {
			t.Errorf("it is ready, but not on the bus: %v", err)
		}
	})
}
