package machineapi_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// Every method of the manager first looks at its arguments, then for the machine
// or image, then asks whether the caller may, and only then does anything.
func TestManagerChecksInOrder(t *testing.T) {
	root, refused := newBusHost(t), newBusHostOver(t, func(s *images.Store) machined.ImageStore { return s }, nobody{})
	for _, h := range []*busHost{root, refused} {
		h.addTree("tree")
		h.addTree("other")
		if err := errors.Join(os.WriteFile(filepath.Join(h.pool, "disk.raw"), nil, 0o644), os.MkdirAll(filepath.Join(h.pool, "none.v"), 0o755)); err != nil {
			t.Fatal(err)
		}
		// A machine of somebody else's, so that no owner passes.
		if _, err := h.manager.Register(t.Context(), machined.Caller{UID: 65534, PID: os.Getpid(), Administrator: true}, machined.Registration{
			Name: "foo", Class: machined.ClassContainer,
			Leader: machined.ProcessRef{ProcessID: machined.ProcessID{PID: int(newLeader(t, 0).pid())}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	const exists, esrch = "org.freedesktop.machine1.MachineExists", "org.freedesktop.DBus.Error.UnixProcessIdUnknown"
	const fileExists, denied, ok = "org.freedesktop.DBus.Error.FileExists", bus.ErrorAccessDenied, ""
	leader := newLeader(t, 0).pid()
	process, err := machined.OpenProcess(int(leader))
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close() //nolint:errcheck // of a test
	newest := properties("Class", "vm", "LeaderPID", leader, "LeaderPIDFDID", process.PIDFDID)
	old := func(name string, id []byte, class string, leader uint32, dir string, rest ...any) []any {
		return append([]any{name, id, "", class, leader, dir}, rest...)
	}
	type args = []any
	for _, c := range []struct {
		method     string
		args       []any
		root, user string
	}{
		{"RegisterMachine", old("a_b", []byte{1}, "host", 1, "x"), bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachine", old("foo", []byte{1}, "vm", leader, ""), bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachine", old("foo", nil, "", leader, ""), bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachine", old("foo", nil, "host", leader, ""), bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachine", old("foo", nil, "vm", 1, ""), bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachine", old("foo", nil, "vm", leader, "x"), bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachine", old("foo", nil, "vm", leader, ""), exists, exists},
		{"RegisterMachine", old("bar", nil, "vm", leader, ""), ok, denied},
		{"RegisterMachineWithNetwork", old("foo", nil, "vm", leader, "", []int32{0}), bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"CreateMachine", old("foo", nil, "vm", leader, "", []property{}), exists, exists},
		{"CreateMachine", old("new", nil, "vm", newLeader(t, 0).pid(), "", []property{}), ok, denied},
		{"RegisterMachineEx", args{"a_b", properties("Color", "red")}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachineEx", args{"foo", properties("Class", "vm", "VSockCID", uint32(0))}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RegisterMachineEx", args{"foo", properties("Class", "vm", "LeaderPID", leader)}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"CreateMachineEx", args{"foo", newest, []property{}}, exists, exists},
		{"UnregisterMachine", args{"none"}, noSuchMachine, noSuchMachine},
		{"UnregisterMachine", args{"foo"}, ok, denied},
		{"TerminateMachine", args{"none"}, noSuchMachine, noSuchMachine},
		{"TerminateMachine", args{".host"}, bus.ErrorNotSupported, denied},
		{"KillMachine", args{"none", "everybody", int32(0)}, noSuchMachine, noSuchMachine},
		{"KillMachine", args{"bar", "everybody", int32(0)}, bus.ErrorInvalidArgs, noSuchMachine},
		{"KillMachine", args{"bar", "", int32(0)}, bus.ErrorInvalidArgs, noSuchMachine},
		{"KillMachine", args{".host", "", int32(65)}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"KillMachine", args{".host", "", int32(9)}, bus.ErrorNotSupported, denied},
		{"KillMachine", args{"bar", "supervisor", int32(9)}, esrch, noSuchMachine},
		{"GetMachineOSRelease", args{"none"}, noSuchMachine, noSuchMachine},
		{"GetMachineOSRelease", args{".host"}, ok, denied},
		{"GetMachineAddresses", args{".host"}, ok, ok},
		{"GetMachineUIDShift", args{".host"}, ok, ok},
		{"GetImage", args{"none.v"}, noSuchImage, noSuchImage},
		{"GetImage", args{"none"}, noSuchImage, noSuchImage},
		{"GetImage", args{"tree"}, ok, ok},
		{"RemoveImage", args{"a/b"}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RemoveImage", args{"none.v"}, noSuchImage, noSuchImage},
		{"RenameImage", args{"a/b", "a/b"}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RenameImage", args{"none", "a/b"}, noSuchImage, noSuchImage},
		{"RenameImage", args{"tree", "a/b"}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"RenameImage", args{"tree", "other"}, fileExists, denied},
		{"CloneImage", args{"none", "a/b", false}, noSuchImage, noSuchImage},
		{"CloneImage", args{"tree", "a/b", false}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"CloneImage", args{"tree", "other", false}, fileExists, denied},
		{"MarkImageReadOnly", args{"none", true}, noSuchImage, noSuchImage},
		{"MarkImageReadOnly", args{"tree", false}, ok, denied},
		{"SetImageLimit", args{"none", uint64(1 << 63)}, noSuchImage, noSuchImage},
		{"SetImageLimit", args{"tree", uint64(1 << 63)}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"SetImageLimit", args{"disk", uint64(1)}, bus.ErrorNotSupported, denied},
		{"SetPoolLimit", args{uint64(1 << 63)}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"CleanPool", args{"some"}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"CleanPool", args{"hidden"}, ok, denied},
		{"GetImageHostname", args{"a/b"}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"GetImageMachineID", args{"none"}, noSuchImage, noSuchImage},
		{"GetImageMachineInfo", args{"tree"}, ok, ok},
		{"GetImageOSRelease", args{"disk"}, bus.ErrorNotSupported, denied},
		{"MapFromMachineUser", args{"none", uint32(65535)}, bus.ErrorInvalidArgs, bus.ErrorInvalidArgs},
		{"MapFromMachineUser", args{"none", uint32(0)}, noSuchMachine, noSuchMachine},
	} {
		for who, h := range map[string]*busHost{"root": root, "a user": refused} {
			want := c.root
			if who != "root" {
				want = c.user
			}
			var name string
			call := h.call(c.method, c.args...)
			if e, isError := errors.AsType[dbus.Error](call.Err); isError {
				name = e.Name
			}
			if name != want {
				t.Errorf("%s %v as %s: %q (%v), want %q", c.method, c.args, who, name, call.Err, want)
			}
		}
	}
}
