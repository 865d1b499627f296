package machineapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"

	"github.com/godbus/dbus/v5"
)

// mapped is the first user and group of the host that a namespaced process has.
const mapped = 40 << 16

// namespacedLeader starts a process in a user namespace of 65536 users and groups.
func namespacedLeader(t *testing.T, first int) int {
	t.Helper()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: first, Size: 1 << 16}}
	cmd := exec.CommandContext(t.Context(), "/bin/cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestMappingOverTheBus(t *testing.T) {
	h := newBusHost(t)
	get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", uint32(namespacedLeader(t, mapped)), "")
	vm := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "vm", []byte{}, "", "vm", vm.pid(), "")
	const prefix = "org.freedesktop.machine1."
	for _, kind := range []string{"User", "Group"} {
		if got := get[uint32](h, "MapFromMachine"+kind, "foo", uint32(7)); got != mapped+7 {
			t.Errorf("%s 7 is %d", kind, got)
		}
		var name string
		var path dbus.ObjectPath
		var inner uint32
		if err := h.call("MapToMachine"+kind, uint32(mapped+7)).Store(&name, &path, &inner); err != nil ||
			name != "foo" || path != machines+"foo" || inner != 7 {
			t.Errorf("%s %d is %d of %s (%s), %v", kind, mapped+7, inner, name, path, err)
		}
		none := prefix + "NoSuch" + kind + "Mapping"
		h.fails(h.call("MapFromMachine"+kind, "foo", uint32(1<<16)), none)
		h.fails(h.call("MapFromMachine"+kind, "none", uint32(0)), prefix+"NoSuchMachine")
		h.fails(h.call("MapFromMachine"+kind, "none", uint32(65535)), bus.ErrorInvalidArgs)
		h.fails(h.call("MapFromMachine"+kind, "vm", uint32(0)), bus.ErrorInvalidArgs)
		h.fails(h.call("MapFromMachine"+kind, ".host", uint32(0)), bus.ErrorInvalidArgs)
		h.fails(h.call("MapToMachine"+kind, uint32(0)), none)
		h.fails(h.call("MapToMachine"+kind, uint32(mapped-1)), none)
		h.fails(h.call("MapToMachine"+kind, ^uint32(0)), bus.ErrorInvalidArgs)
	}
}

func TestMappingOverVarlink(t *testing.T) {
	h := newVarlinkHost(t, nobody{})
	root := newVarlinkHost(t, rootOnly)
	for name, leader := range map[string]int{"foo": namespacedLeader(t, mapped), "bar": namespacedLeader(t, 2*mapped)} {
		if err := root.register(map[string]any{"name": name, "class": "container", "leader": leader}); err != nil {
			t.Fatal(err)
		}
	}
	if err := root.register(map[string]any{"name": "vm", "class": "vm", "leader": h.leader()}); err != nil {
		t.Fatal(err)
	}
	const machine = "io.systemd.Machine."
	for _, c := range []struct{ method, in, want string }{
		{"MapFrom", `{"name":"foo","uid":0,"gid":7}`, fmt.Sprintf(`{"uid":%d,"gid":%d}`, mapped, mapped+7)},
		{"MapFrom", `{"name":"foo","uid":1,"gid":null,"allowInteractiveAuthentication":true}`, fmt.Sprintf(`{"uid":%d}`, mapped+1)},
		{"MapFrom", `{"name":"foo","uid":4294967295}`, `{}`},
		{"MapFrom", `{"name":"foo","uid":65535}`, varlink.ErrorInvalidParameter},
		{"MapFrom", `{"name":"foo","gid":65535}`, varlink.ErrorInvalidParameter},
		{"MapFrom", `{"name":"foo","uid":4294967296}`, varlink.ErrorInvalidParameter},
		{"MapFrom", `{"name":"foo","uid":-1}`, varlink.ErrorInvalidParameter},
		{"MapFrom", `{"name":"foo","uid":65536}`, machine + "NoSuchUser"},
		{"MapFrom", `{"name":"foo","gid":65536}`, machine + "NoSuchGroup"},
		{"MapFrom", `{"name":"none","uid":0}`, machine + "NoSuchMachine"},
		{"MapFrom", `{"uid":0}`, machine + "NoSuchMachine"},
		{"MapFrom", `{"name":"vm","uid":0}`, machine + "NotSupported"},
		{"MapFrom", `{"name":".host","uid":0}`, machine + "NotSupported"},
		{"MapTo", fmt.Sprintf(`{"uid":%d,"gid":%d}`, mapped, mapped+7), `{"uid":0,"gid":7,"machineName":"foo"}`},
		{"MapTo", fmt.Sprintf(`{"gid":%d}`, 2*mapped+7), `{"gid":7,"machineName":"bar"}`},
		{"MapTo", fmt.Sprintf(`{"uid":%d,"gid":%d}`, mapped, 2*mapped), machine + "NoSuchMachine"},
		{"MapTo", `{}`, machine + "NoSuchMachine"},
		{"MapTo", `{"uid":0}`, machine + "UserInHostRange"},
		{"MapTo", `{"gid":65534}`, machine + "GroupInHostRange"},
		{"MapTo", `{"gid":65535}`, varlink.ErrorInvalidParameter},
		{"MapTo", `{"uid":65536}`, machine + "NoSuchUser"},
		{"MapTo", `{"gid":65536}`, machine + "NoSuchGroup"},
	} {
		var out json.RawMessage
		_, err := root.raw.Call(t.Context(), machine+c.method, json.RawMessage(c.in), &out)
		got := string(out)
		if e := (*varlink.Error)(nil); errors.As(err, &e) {
			got = e.Name
		}
		if got != c.want {
			t.Errorf("%s %s: %s (%v), want %s", c.method, c.in, got, err, c.want)
		}
	}
	// It asks nobody.
	if _, err := h.raw.Call(t.Context(), machine+"MapTo", map[string]int{"uid": mapped}, nil); !isError(err, machine+"NoSuchUser") {
		t.Errorf("as nobody: %v", err)
	}
}
