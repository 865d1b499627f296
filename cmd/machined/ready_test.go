package main

import (
	"path/filepath"
	"syscall"
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
		notices := ownhost.Listen(t)
		cmd := u.command(filepath.Join(u.bin, "machined"), "--user")
		cmd.Env = append(cmd.Env, "DBUS_SESSION_BUS_ADDRESS="+address)
		if err := notices.From(cmd).Start(); err != nil {
			t.Fatal(err)
		}
		if got := notices.Next(); got != "READY=1" {
			t.Errorf("first told %q", got)
		}
		seen()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("end of the daemon: %v", err)
		}
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
