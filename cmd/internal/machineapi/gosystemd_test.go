package machineapi_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/machine1"
	"github.com/godbus/dbus/v5"
)

// TestGoSystemd drives the daemon with the client that Go programs use for the
// original, as its own tests do.
func TestGoSystemd(t *testing.T) {
	h := newBusHost(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", h.address)
	c, err := machine1.New()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // of a test
	leaders := map[string]*leader{}
	for name, register := range map[string]func(name string, pid int) error{
		"create": func(name string, pid int) error {
			return c.CreateMachine(name, nil, "go-systemd", "container", pid, "/some/root", nil)
		},
		"create-network": func(name string, pid int) error {
			return c.CreateMachineWithNetwork(name, nil, "go-systemd", "container", pid, "", []int{1},
				[]sddbus.Property{sddbus.PropDescription("a machine")})
		},
		"register": func(name string, pid int) error { return c.RegisterMachine(name, nil, "go-systemd", "vm", pid, "") },
		"register-network": func(name string, pid int) error {
			return c.RegisterMachineWithNetwork(name, nil, "", "container", pid, "", []int{1})
		},
	} {
		leaders[name] = newLeader(t, 0)
		if err := register(name, int(leaders[name].pid())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	list, err := c.ListMachines()
	if err != nil {
		t.Fatal(err)
	}
	// The host is one of them.
	if len(list) != 5 || !slices.Contains(list, machine1.MachineStatus{Name: ".host", Class: "host", JobPath: machines + "_2ehost"}) ||
		!slices.Contains(list, machine1.MachineStatus{Name: "register", Class: "vm", Service: "go-systemd", JobPath: machines + "register"}) {
		t.Errorf("machines %+v", list)
	}
	byPID, err := c.GetMachineByPID(uint(leaders["create"].pid()))
	if err != nil || byPID != machines+"create" {
		t.Errorf("machine of a process: %s, %v", byPID, err)
	}
	described, err := c.DescribeMachine("create-network")
	if err != nil || described["Name"] != "create-network" || described["Leader"] != leaders["create-network"].pid() ||
		!slices.Equal(described["NetworkInterfaces"].([]int32), []int32{1}) {
		t.Errorf("properties %v, %v", described, err)
	}
	if err := c.KillMachine("create", "leader", syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"create-network", "register", "register-network"} {
		if err := c.TerminateMachine(name); err != nil {
			t.Errorf("terminate %s: %v", name, err)
		}
	}
	for name := range leaders {
		h.await("the end of "+name, func() bool { _, err := c.GetMachine(name); return err != nil })
	}
	h.goSystemdImages(c)
}

func (h *busHost) goSystemdImages(c *machine1.Conn) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Join(h.pool, "tree"), 0o755); err != nil {
		h.t.Fatal(err)
	}
	list, err := c.ListImages()
	if err != nil {
		h.t.Fatal(err)
	}
	find := func(name string) machine1.ImageStatus {
		i := slices.IndexFunc(list, func(s machine1.ImageStatus) bool { return s.Name == name })
		if i < 0 {
			h.t.Fatalf("no image %s in %+v", name, list)
		}
		return list[i]
	}
	if host := find(".host"); host.JobPath != imagesPath+"_2ehost" {
		h.t.Errorf("image of the host %+v", host)
	}
	tree := find("tree")
	if path, err := c.GetImage("tree"); err != nil || path != tree.JobPath {
		h.t.Errorf("path %s, %v; the list says %+v", path, err, tree)
	}
}

// pair is a property of a scope as libvirt sends it.
type pair struct {
	Name  string
	Value dbus.Variant
}

// TestLibvirt makes libvirt's calls: in their order, with their types and values.
func TestLibvirt(t *testing.T) {
	h := newBusHost(t)
	l := newLeader(t, 0)
	const name = "qemu-1-a.guest"
	id := []byte{0xc7, 0xa5, 0xfd, 0xbd, 0xed, 0xaf, 0x94, 0x55, 0x92, 0x6a, 0xd6, 0x5c, 0x16, 0xdb, 0x18, 0x09}
	scope := []pair{
		{"Slice", dbus.MakeVariant("machine.slice")},
		{"After", dbus.MakeVariant([]string{"libvirtd.service"})},
		{"Before", dbus.MakeVariant([]string{"virt-guest-shutdown.target"})},
	}
	var names []string
	if err := h.conn.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil || !slices.Contains(names, "org.freedesktop.machine1") {
		t.Errorf("names on the bus: %q, %v", names, err)
	}
	h.fails(h.call("GetMachineByPID", l.pid()), "org.freedesktop.machine1.NoMachineForPID")
	h.do("CreateMachineWithNetwork", name, id, "libvirt-qemu", "vm", l.pid(), "", []int32{1}, scope)
	path := get[dbus.ObjectPath](h, "GetMachineByPID", l.pid())
	for property, want := range map[string]string{"Name": name, "Unit": `machine-qemu\x2d1\x2da.guest.scope`} {
		var got dbus.Variant
		err := h.object(path).Call("org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.machine1.Machine", property).Store(&got)
		if err != nil || got.Value() != want {
			t.Errorf("%s: %v, %v, want %s", property, got, err, want)
		}
	}
	h.fails(h.call("CreateMachineWithNetwork", name, id, "libvirt-qemu", "vm", newLeader(t, 0).pid(), "", []int32{}, scope),
		"org.freedesktop.machine1.MachineExists")
	h.do("TerminateMachine", name)
	h.await("its end", func() bool { return h.call("GetMachine", name).Err != nil })
	// The only error of this call that libvirt takes for success.
	h.fails(h.call("TerminateMachine", name), "org.freedesktop.machine1.NoSuchMachine")
	// A method that is not there is the only reason for another try with an older one.
	h.fails(h.call("CreateMachineWithEverything"), "org.freedesktop.DBus.Error.UnknownMethod")
}
