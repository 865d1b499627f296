package machineapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/images"

	"github.com/godbus/dbus/v5"
)

const (
	noSuchMachine = "org.freedesktop.machine1.NoSuchMachine"
	noSuchImage   = "org.freedesktop.machine1.NoSuchImage"
)

// What will be refused in any case is refused before somebody types a password.
func TestNobodyIsAskedInVain(t *testing.T) {
	h := newBusHost(t)
	l := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", l.pid(), "")
	for name, want := range map[string]string{"foo": "already exists", "bar": "denied", "a_b": "invalid machine name"} {
		got := h.busctlAs(1, "call", machineapi.BusName, string(managerPath), managerIface, "RegisterMachine", "sayssus",
			name, "0", "", "container", fmt.Sprint(l.pid()), "")
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", name, got, want)
		}
	}
}

func TestErrorsOverTheBus(t *testing.T) {
	h := newBusHost(t)
	h.addTree("tree")
	h.addTree("other")
	l := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", l.pid(), "")
	register := func(name string, id []byte, class string, leader uint32, root string) []any {
		return []any{name, id, "", class, leader, root}
	}
	for _, tt := range []struct {
		method string
		args   []any
		want   string
	}{
		{"GetMachine", []any{"none"}, noSuchMachine},
		{"GetMachine", []any{"no/name"}, noSuchMachine},
		{"GetMachineByPID", []any{uint32(1)}, "org.freedesktop.machine1.NoMachineForPID"},
		{"GetMachineByPID", []any{uint32(1 << 31)}, bus.ErrorInvalidArgs},
		{"RegisterMachine", register("foo", nil, "container", newLeader(t, 0).pid(), ""), "org.freedesktop.machine1.MachineExists"},
		{"RegisterMachine", register("a_b", nil, "container", l.pid(), ""), bus.ErrorInvalidArgs},
		{"RegisterMachine", register("b", []byte{1}, "container", l.pid(), ""), bus.ErrorInvalidArgs},
		{"RegisterMachine", register("b", nil, "host", l.pid(), ""), bus.ErrorInvalidArgs},
		{"RegisterMachine", register("b", nil, "container", 1, ""), bus.ErrorInvalidArgs},
		{"RegisterMachine", register("b", nil, "container", 1<<31, ""), bus.ErrorInvalidArgs},
		{"RegisterMachine", register("b", nil, "container", l.pid(), "not/absolute"), bus.ErrorInvalidArgs},
		{"UnregisterMachine", []any{"none"}, noSuchMachine},
		{"TerminateMachine", []any{"none"}, noSuchMachine},
		{"TerminateMachine", []any{".host"}, bus.ErrorNotSupported},
		{"KillMachine", []any{"none", "", int32(9)}, noSuchMachine},
		{"KillMachine", []any{"foo", "everybody", int32(9)}, bus.ErrorInvalidArgs},
		{"KillMachine", []any{"foo", "leader", int32(0)}, bus.ErrorInvalidArgs},
		{"KillMachine", []any{"foo", "leader", int32(65)}, bus.ErrorInvalidArgs},
		{"KillMachine", []any{"foo", "supervisor", int32(9)}, "org.freedesktop.DBus.Error.UnixProcessIdUnknown"},
		{"GetMachineOSRelease", []any{"none"}, noSuchMachine},
		{"GetMachineAddresses", []any{"none"}, noSuchMachine},
		{"GetMachineUIDShift", []any{"none"}, noSuchMachine},
		{"GetMachineSSHInfo", []any{"none"}, noSuchMachine},
		{"GetImage", []any{"none"}, noSuchImage},
		{"GetImage", []any{"no/name"}, noSuchImage},
		{"RemoveImage", []any{"none"}, noSuchImage},
		{"RemoveImage", []any{"no/name"}, bus.ErrorInvalidArgs},
		{"RemoveImage", []any{images.HostName}, "System.Error.EROFS"},
		{"RenameImage", []any{"tree", "no/name"}, bus.ErrorInvalidArgs},
		{"RenameImage", []any{"tree", "other"}, "org.freedesktop.DBus.Error.FileExists"},
		{"CloneImage", []any{"tree", "other", false}, "org.freedesktop.DBus.Error.FileExists"},
		{"CloneImage", []any{"none", "new", false}, noSuchImage},
		{"MarkImageReadOnly", []any{"none", true}, noSuchImage},
		{"GetImageHostname", []any{"none"}, noSuchImage},
		{"GetImageOSRelease", []any{"no/name"}, bus.ErrorInvalidArgs},
		{"CleanPool", []any{"some"}, bus.ErrorInvalidArgs},
		{"Fly", nil, bus.ErrorUnknownMethod},
	} {
		h.fails(h.call(tt.method, tt.args...), tt.want)
	}
	for _, path := range []dbus.ObjectPath{machines + "none", machines + "a_2fb", imagesPath + "none", imagesPath + "a_2fb"} {
		h.fails(h.object(path).Call("org.freedesktop.DBus.Properties.GetAll", 0, ""), bus.ErrorUnknownObject)
	}
}

func (h *busHost) managerAs(uid uint32, call string) string {
	h.t.Helper()
	args := []string{"call", machineapi.BusName, string(managerPath), managerIface}
	return h.busctlAs(uid, append(args, strings.Fields(call)...)...)
}

func TestOtherUsersMayOnlyLook(t *testing.T) {
	h := newBusHost(t)
	h.addTree("tree")
	if err := os.WriteFile(filepath.Join(h.pool, "disk.raw"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", l.pid(), "")
	h.fails(h.call("GetImageHostname", "disk"), bus.ErrorNotSupported) // there is no reader of disks here
	const user = 65534
	denied := "Access denied"
	for call, want := range map[string]string{
		"GetMachine s foo":                               `o "/org/freedesktop/machine1/machine/foo"`,
		"GetImageHostname s tree":                        `s "inside"`,
		"GetImageHostname s disk":                        denied,
		"GetImageOSRelease s disk":                       denied,
		"SetImageLimit st tree 1":                        denied,
		"SetPoolLimit t 1":                               denied,
		"TerminateMachine s foo":                         denied,
		"UnregisterMachine s foo":                        denied,
		"KillMachine ssi foo leader 9":                   denied,
		"GetMachineOSRelease s foo":                      denied,
		"RemoveImage s tree":                             denied,
		"RenameImage ss tree t2":                         denied,
		"CloneImage ssb tree t2 0":                       denied,
		"MarkImageReadOnly sb tree 1":                    denied,
		"CleanPool s all":                                denied,
		"CreateMachineEx sa(sv)a(sv) x 1 Class s vm 0":   denied,
		"RegisterMachineEx sa(sv) x 1 Class s container": denied,
	} {
		if got := h.managerAs(user, call); !strings.Contains(got, want) {
			t.Errorf("%s: %s", call, got)
		}
	}
	for path, iface := range map[dbus.ObjectPath]string{machines + "foo": machineIface + " Terminate", imagesPath + "tree": imageIface + " Remove"} {
		args := append([]string{"call", machineapi.BusName, string(path)}, strings.Fields(iface)...)
		if got := h.busctlAs(user, args...); !strings.Contains(got, denied) {
			t.Errorf("%s: %s", iface, got)
		}
	}
	if got := l.run("echo alive"); got != "alive" {
		t.Errorf("the leader says %q", got)
	}
	if got := h.images(); len(got) != 3 {
		t.Errorf("images %q", got)
	}
}

// Who may register machines may register his own processes, and manage what he
// registered.
func TestOwnersMayManageTheirMachines(t *testing.T) {
	h := newBusHost(t, "register-machine")
	const owner, other = 65534, 1 // the bus takes known users only
	mine, roots := newLeader(t, owner), newLeader(t, 0)
	half := fmt.Sprintf("RegisterMachineEx sa(sv) mine 2 Class s container LeaderPID u %d", mine.pid())
	if got := h.managerAs(owner, half); !strings.Contains(got, "LeaderPIDFDID") {
		t.Errorf("registration by pid alone: %s", got)
	}
	registerOld := func(pid uint32) string {
		return h.managerAs(owner, fmt.Sprintf("RegisterMachine sayssus mine 0 test container %d /", pid))
	}
	if got := registerOld(roots.pid()); !strings.Contains(got, "Access denied") {
		t.Errorf("registration of a process of root's: %s", got)
	}
	if got := registerOld(mine.pid()); got != `o "/org/freedesktop/machine1/machine/mine"` {
		t.Fatalf("registration: %s", got)
	}
	if got := h.properties(machines + "mine")["UID"]; got != uint32(owner) {
		t.Errorf("owner is %v", got)
	}
	if got := h.managerAs(other, "KillMachine ssi mine leader 0"); !strings.Contains(got, "no signal") {
		t.Errorf("kill with signal 0: %s", got)
	}
	if got := h.managerAs(other, "KillMachine ssi mine leader 9"); got != "Call failed: Access denied" {
		t.Errorf("kill by another user: %s", got)
	}
	if got := h.managerAs(owner, "UnregisterMachine s mine"); got != "" {
		t.Errorf("unregister by the owner: %s", got)
	}
}
