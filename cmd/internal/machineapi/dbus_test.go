package machineapi_test

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

func TestIntrospectionIsThatOfTheStockDaemon(t *testing.T) {
	h := newBusHost(t)
	if err := os.MkdirAll(filepath.Join(h.pool, "foo-bar"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, path := range map[string]dbus.ObjectPath{
		"dbus-machine1-manager.xml": managerPath,
		"dbus-machine1-machine.xml": machines + "_2ehost",
		"dbus-machine1-image.xml":   imagesPath + "foo_2dbar",
	} {
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := h.busctl("introspect", "--xml-interface", machineapi.BusName, string(path)); got != strings.TrimSpace(string(want)) {
			t.Errorf("%s:\n%s", path, got)
		}
	}
	tree := h.busctl("tree", "--list", machineapi.BusName)
	for _, path := range []dbus.ObjectPath{machines + "_2ehost", imagesPath + "foo_2dbar", imagesPath + "_2ehost"} {
		if !slices.Contains(strings.Fields(tree), string(path)) {
			t.Errorf("%s is not in the tree:\n%s", path, tree)
		}
	}
}

// network is the argument that some calls have besides.
var network = []int32{1}

func TestRegisterOverTheBus(t *testing.T) {
	h := newBusHost(t)
	signals := h.signals()
	id := []byte("0123456789abcdef")
	scope := []property{{"Slice", dbus.MakeVariant("machine.slice")}, {"After", dbus.MakeVariant([]string{"x"})}}
	for _, tt := range []struct {
		method string
		rest   []any
	}{
		{"RegisterMachine", nil},
		{"RegisterMachineWithNetwork", []any{network}},
		{"CreateMachine", []any{scope}},
		{"CreateMachineWithNetwork", []any{network, scope}},
	} {
		l := newLeader(t, 0)
		name := "m-" + tt.method
		args := append([]any{name, id, "test", "container", l.pid(), "/some/root"}, tt.rest...)
		call := h.call(tt.method, args...)
		path := machines + "m_2d" + dbus.ObjectPath(tt.method)
		if call.Err != nil || call.Body[0] != path {
			t.Errorf("%s: %v, %v", tt.method, call.Body, call.Err)
			continue
		}
		if s := h.next(signals, "MachineNew", name, path); s.Sequence >= call.ResponseSequence {
			t.Errorf("%s: signal %d after reply %d", tt.method, s.Sequence, call.ResponseSequence)
		}
		if got := get[dbus.ObjectPath](h, "GetMachine", name); got != path {
			t.Errorf("GetMachine: %s", got)
		}
		if got := get[dbus.ObjectPath](h, "GetMachineByPID", l.pid()); got != path {
			t.Errorf("GetMachineByPID: %s", got)
		}
		interfaces := []int32{}
		if strings.HasSuffix(tt.method, "WithNetwork") {
			interfaces = network
		}
		got := h.properties(path)
		for property, want := range map[string]any{
			"Name": name, "Id": id, "Service": "test", "Class": "container", "Leader": l.pid(), "Supervisor": uint32(0),
			"SupervisorPIDFDId": uint64(0), "RootDirectory": "/some/root", "NetworkInterfaces": interfaces,
			"VSockCID": uint32(math.MaxUint32), "SSHAddress": "", "SSHPrivateKeyPath": "", "State": "running",
			"UID": uint32(0), "Subgroup": "", "Unit": `machine-m\x2d` + tt.method + ".scope",
		} {
			if !reflect.DeepEqual(got[property], want) {
				t.Errorf("%s: %s is %v, want %v", tt.method, property, got[property], want)
			}
		}
		scope, err := h.object(path).GetProperty(machineIface + ".Scope")
		if err != nil || scope.Value() != got["Unit"] {
			t.Errorf("%s: hidden property Scope: %v, %v", tt.method, scope, err)
		}
		if got["Timestamp"].(uint64) == 0 || got["TimestampMonotonic"].(uint64) == 0 || len(got) != 19 {
			t.Errorf("%s: properties %v", tt.method, got)
		}
	}
	type entry struct {
		Name, Class, Service string
		Path                 dbus.ObjectPath
	}
	list := get[[]entry](h, "ListMachines")
	if len(list) != 5 || list[0] != (entry{".host", "host", "", machines + "_2ehost"}) ||
		list[1] != (entry{"m-CreateMachine", "container", "test", machines + "m_2dCreateMachine"}) {
		t.Errorf("list: %v", list)
	}
}

type property struct {
	Name  string
	Value dbus.Variant
}

func properties(pairs ...any) (list []property) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, property{pairs[i].(string), dbus.MakeVariant(pairs[i+1])})
	}
	return list
}

func TestRegisterExOverTheBus(t *testing.T) {
	h := newBusHost(t)
	l := newLeader(t, 0)
	fd, err := unix.PidfdOpen(int(l.pid()), 0)
	if err != nil {
		t.Fatal(err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	unixFD := dbus.UnixFD(fd)
	for _, tt := range []struct {
		properties []property
		want       string
	}{
		{properties("Class", "container", "LeaderPID", l.pid()), bus.ErrorInvalidArgs},
		{properties("Class", "container", "LeaderPIDFDID", st.Ino), bus.ErrorInvalidArgs},
		{properties("Class", "container", "LeaderPIDFD", unixFD, "LeaderPID", l.pid()+1), bus.ErrorInvalidArgs},
		{properties("Class", "container", "LeaderPIDFD", unixFD, "LeaderPIDFD", unixFD), bus.ErrorInvalidArgs},
		{properties("Class", "container", "LeaderPIDFD", unixFD, "Color", "red"), bus.ErrorInvalidArgs},
		{properties("Class", "container", "LeaderPIDFD", unixFD, "Service", uint32(1)), bus.ErrorInvalidArgs},
		{properties("Class", "container", "LeaderPIDFD", unixFD, "Id", []byte("short")), bus.ErrorInvalidArgs},
		{properties("Class", "container", "LeaderPIDFD", unixFD, "VSockCID", uint32(2)), bus.ErrorInvalidArgs},
		{properties("Class", "host", "LeaderPIDFD", unixFD), bus.ErrorInvalidArgs},
	} {
		h.fails(h.call("RegisterMachineEx", "foo", tt.properties), tt.want)
	}
	all := properties("Class", "vm", "LeaderPIDFD", unixFD, "LeaderPID", l.pid(), "LeaderPIDFDID", st.Ino, "Id", []byte{},
		"Service", "test", "RootDirectory", "/x", "NetworkInterfaces", []int32{7, 8}, "VSockCID", uint32(99),
		"SSHAddress", "vsock/99", "SSHPrivateKeyPath", "/key")
	var before int
	for i, method := range []string{"RegisterMachineEx", "CreateMachineEx", "RegisterMachineEx"} {
		args := []any{"foo", all}
		if method == "CreateMachineEx" {
			args = append(args, []property{})
		}
		if got := get[dbus.ObjectPath](h, method, args...); got != machines+"foo" {
			t.Errorf("%s: %s", method, got)
		}
		got := h.properties(machines + "foo")
		for property, want := range map[string]any{
			"Class": "vm", "Leader": l.pid(), "LeaderPIDFDId": st.Ino, "NetworkInterfaces": []int32{7, 8},
			"VSockCID": uint32(99), "SSHAddress": "vsock/99", "SSHPrivateKeyPath": "/key", "Id": make([]byte, 16),
		} {
			if !reflect.DeepEqual(got[property], want) {
				t.Errorf("%s: %s is %v, want %v", method, property, got[property], want)
			}
		}
		var address, key string
		if err := h.call("GetMachineSSHInfo", "foo").Store(&address, &key); err != nil || address != "vsock/99" || key != "/key" {
			t.Errorf("SSH: %s %s, %v", address, key, err)
		}
		h.do("UnregisterMachine", "foo")
		if i == 0 {
			before = openFiles(t) // the unit of the first stays, with its process
		}
	}
	h.await("descriptors to be closed", func() bool { return openFiles(t) <= before })
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestEndingMachinesOverTheBus(t *testing.T) {
	h := newBusHost(t)
	signals := h.signals()
	begin := func() *leader {
		t.Helper()
		l := newLeader(t, 0)
		get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", l.pid(), "")
		h.next(signals, "MachineNew", "foo", machines+"foo")
		return l
	}
	removed := func() {
		t.Helper()
		h.next(signals, "MachineRemoved", "foo", machines+"foo")
		h.fails(h.call("GetMachine", "foo"), "org.freedesktop.machine1.NoSuchMachine")
	}
	l := begin()
	h.do("UnregisterMachine", "foo")
	removed()
	if got := l.run("echo alive"); got != "alive" {
		t.Errorf("after UnregisterMachine: %q", got)
	}
	for _, end := range []struct {
		path   dbus.ObjectPath
		method string
		args   []any
	}{
		{managerPath, managerIface + ".TerminateMachine", []any{"foo"}},
		{machines + "foo", machineIface + ".Terminate", nil},
		{managerPath, managerIface + ".KillMachine", []any{"foo", "leader", int32(9)}},
		{managerPath, managerIface + ".KillMachine", []any{"foo", "", int32(9)}},
		{machines + "foo", machineIface + ".Kill", []any{"all", int32(9)}},
	} {
		begin()
		if err := h.object(end.path).Call(end.method, 0, end.args...).Err; err != nil {
			t.Errorf("%s %v: %v", end.method, end.args, err)
		}
		removed()
	}
	h.fails(h.object(machines+"foo").Call(machineIface+".Terminate", 0), bus.ErrorUnknownObject)
}

func TestProcessFindsItsMachine(t *testing.T) {
	h := newBusHost(t)
	l := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", l.pid(), "")
	busctl := "busctl --address=" + h.address + " "
	if got := l.run(busctl + "get-property org.freedesktop.machine1 " + string(machines) + "self " + machineIface + " Name"); got != `s "foo"` {
		t.Errorf("self: %s", got)
	}
	if got := l.run(busctl + "call org.freedesktop.machine1 " + string(managerPath) + " " + managerIface + " GetMachineByPID u 0"); got != `o "/org/freedesktop/machine1/machine/foo"` {
		t.Errorf("GetMachineByPID 0: %s", got)
	}
	h.fails(h.object(machines+"self").Call(machineIface+".GetUIDShift", 0), bus.ErrorUnknownObject)
	h.fails(h.call("GetMachineByPID", uint32(0)), "org.freedesktop.machine1.NoMachineForPID")
}

func TestLookingIntoMachinesOverTheBus(t *testing.T) {
	h := newBusHost(t)
	l := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", l.pid(), "")
	type address struct {
		Family int32
		IP     []byte
	}
	for _, a := range get[[]address](h, "GetMachineAddresses", ".host") {
		if a.Family == unix.AF_INET && len(a.IP) != 4 || a.Family == unix.AF_INET6 && len(a.IP) != 16 {
			t.Errorf("address %v", a)
		}
	}
	h.fails(h.call("GetMachineAddresses", "foo"), "org.freedesktop.machine1.NoPrivateNetworking")
	h.fails(h.call("GetMachineSSHInfo", "foo"), "org.freedesktop.DBus.Error.FileNotFound")
	if got := get[uint32](h, "GetMachineUIDShift", ".host"); got != 0 {
		t.Errorf("uid shift of the host: %d", got)
	}
	want, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Skip("this host has no os-release")
	}
	got := get[map[string]string](h, "GetMachineOSRelease", ".host")
	if id := got["ID"]; id == "" || !strings.Contains(string(want), id) {
		t.Errorf("os-release of the host: %v", got)
	}
}
