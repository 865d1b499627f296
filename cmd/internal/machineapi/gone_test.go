package machineapi_test

import (
	"os/exec"
	"testing"

	"berth/fixtures/privatebus"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// Machines that ended while there was no daemon are told of when there is one, and
// those that are there still are not announced again.
func TestMachinesThatEndedWithoutADaemon(t *testing.T) {
	leaders := map[string]*exec.Cmd{"alive": nil, "dead": nil}
	end := func(name string) {
		t.Helper()
		if err := leaders[name].Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = leaders[name].Wait() // it was killed
	}
	v := newVarlinkHost(t, rootOnly, func(c *machined.Config) {
		first, err := machined.New(*c)
		if err != nil {
			t.Fatal(err)
		}
		for name := range leaders {
			leaders[name] = exec.CommandContext(t.Context(), "/bin/sleep", "1000")
			if err := leaders[name].Start(); err != nil {
				t.Fatal(err)
			}
			r := machined.Registration{Name: name, Class: machined.ClassContainer}
			r.Leader.PID = leaders[name].Process.Pid
			if _, err := first.Register(t.Context(), machined.Caller{}, r); err != nil {
				t.Error(err)
			}
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		end("dead")
	})
	b := &busHost{t: t, address: privatebus.Start(t), manager: v.manager}
	var err error
	if b.conn, err = dbus.Connect(b.address); err != nil {
		t.Fatal(err)
	}
	early := b.conn
	defer early.Close() //nolint:errcheck // the bus may be gone
	signals := b.signals()
	b.serve(v.service)
	b.next(signals, "MachineRemoved", "dead", machines+"dead")
	end("alive")
	b.next(signals, "MachineRemoved", "alive", machines+"alive")
}
