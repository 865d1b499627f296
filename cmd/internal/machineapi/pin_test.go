package machineapi_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/images"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// swapper says yes to everything, and while it is asked the machine foo ends and
// another has its name.
type swapper struct {
	t       *testing.T
	manager *machined.Manager
	second  atomic.Uint32 // leader of the other
}

var _ machineapi.Authorizer = (*swapper)(nil)

// Check is part of machineapi.Authorizer.
func (s *swapper) Check(ctx context.Context, _ polkit.Subject, _ string, _ map[string]string, _ bool) error {
	if err := s.manager.Unregister(ctx, "foo"); err != nil {
		s.t.Error(err)
	}
	s.register(s.second.Load())
	return nil
}

// owner is whose machine foo is: not the caller's, who is asked about therefore.
const owner = 65534

func (s *swapper) register(pid uint32) {
	s.t.Helper()
	_, err := s.manager.Register(s.t.Context(), machined.Caller{UID: owner}, machined.Registration{
		Name: "foo", Class: machined.ClassContainer, Leader: machined.ProcessRef{ProcessID: machined.ProcessID{PID: int(pid)}},
	})
	if err != nil {
		s.t.Error(err)
	}
}

// try has a call fail that was allowed for a machine which has ended, and nothing
// done to the other.
func (s *swapper) try(what string, call func()) {
	s.t.Helper()
	second := newLeader(s.t, owner)
	s.second.Store(second.pid())
	s.register(newLeader(s.t, owner).pid())
	call()
	m, err := s.manager.Find("foo")
	if err != nil || m.Leader.PID != int(second.pid()) || m.State != machined.StateRunning {
		s.t.Fatalf("%s: another machine was meant: %+v, %v", what, m, err)
	}
	if got := second.run("echo alive"); got != "alive" {
		s.t.Errorf("%s: the other leader says %q", what, got)
	}
	if err := s.manager.Unregister(s.t.Context(), "foo"); err != nil {
		s.t.Error(err)
	}
}

// What somebody was allowed to do to a machine is not done to another that has
// got its name while polkit was asked.
func TestAllowedForAnotherMachineOverTheBus(t *testing.T) {
	s := &swapper{t: t}
	h := newBusHostOver(t, func(s *images.Store) machined.ImageStore { return s }, s)
	s.manager = h.manager
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foo := func(method string, args ...any) func() *dbus.Call {
		return func() *dbus.Call { return h.call(method, append([]any{"foo"}, args...)...) }
	}
	object := func(method string, args ...any) func() *dbus.Call {
		return func() *dbus.Call { return h.ofMachine("foo", method, args...) }
	}
	for what, call := range map[string]func() *dbus.Call{
		"TerminateMachine": foo("TerminateMachine"), "Terminate": object("Terminate"),
		"KillMachine": foo("KillMachine", "all", int32(9)), "Kill": object("Kill", "leader", int32(9)),
		"UnregisterMachine": foo("UnregisterMachine"), "OpenMachinePTY": foo("OpenMachinePTY"), "OpenPTY": object("OpenPTY"),
		"OpenMachineRootDirectory": foo("OpenMachineRootDirectory"), "GetMachineOSRelease": foo("GetMachineOSRelease"),
		"CopyToMachine": foo("CopyToMachine", source, source+"2"), "CopyFromMachine": foo("CopyFromMachine", source, source+"2"),
		"BindMountMachine": foo("BindMountMachine", source, source+"2", false, true),
	} {
		s.try(what, func() { h.fails(call(), noSuchMachine) })
	}
	if _, err := os.Lstat(source + "2"); err == nil {
		t.Error("something was copied")
	}
}

// The same over the other transport.
func TestAllowedForAnotherMachineOverVarlink(t *testing.T) {
	s := &swapper{t: t}
	h := newVarlinkHost(t, s)
	s.manager = h.manager
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for method, in := range map[string]map[string]any{
		"Terminate": {}, "Unregister": {}, "Kill": {"whom": "all", "signal": 9}, "Open": {"mode": "tty"}, "OpenRootDirectory": {},
		"CopyTo": {"source": source, "destination": source + "2"}, "CopyFrom": {"source": source, "destination": source + "2"},
		"BindMount": {"source": source, "destination": source + "2", "mkdir": true},
	} {
		in["name"] = "foo"
		s.try(method, func() { h.wireFails(method, in, "io.systemd.Machine.NoSuchMachine") })
	}
	if _, err := os.Lstat(source + "2"); err == nil {
		t.Error("something was copied")
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	s.try("Exec", func() {
		if _, err := h.client.Exec(t.Context(), "foo", machineapi.Command{Argv: []string{"true"}}, null, null, null); err == nil {
			t.Error("a command was run in another machine")
		}
	})
}
