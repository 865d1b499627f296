package machineapi_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"

	"github.com/godbus/dbus/v5"
)

// reads checks what comes out of a terminal first.
func reads(t *testing.T, terminal *os.File, want string) {
	t.Helper()
	line, err := bufio.NewReader(terminal).ReadString('\n')
	if strings.TrimSpace(line) != want {
		t.Errorf("terminal shows %q, %v, want %q", line, err, want)
	}
}

// terminal takes the results of a method that opens one.
func terminal(t *testing.T, call *dbus.Call) *os.File {
	t.Helper()
	var fd dbus.UnixFD
	var path string
	if err := call.Store(&fd, &path); err != nil {
		t.Fatalf("%s: %v", call.Method, err)
	}
	if !strings.HasPrefix(path, "/dev/pts/") {
		t.Errorf("%s: path %q", call.Method, path)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestSessionsOverTheBus(t *testing.T) {
	h := newBusHost(t)
	boot(t, h.manager, "berth-tty-bus")
	const object, name = "berth_2dtty_2dbus", "berth-tty-bus"
	args := []string{"sh", "-c", "echo $WORD; read x"}
	terminal(t, h.call("OpenMachinePTY", name))
	terminal(t, h.ofMachine(object, "OpenPTY"))
	reads(t, terminal(t, h.call("OpenMachineShell", name, "", "/bin/sh", args, []string{"WORD=manager"})), "manager")
	reads(t, terminal(t, h.ofMachine(object, "OpenShell", "1000", "/bin/sh", args, []string{"WORD=object"})), "object")
	const absent = "org.freedesktop.DBus.Error.FileNotFound"
	h.fails(h.call("OpenMachineLogin", name), absent)
	h.fails(h.ofMachine(object, "OpenLogin"), absent)
	none := []string{}
	for _, c := range []struct {
		want string
		args []any
	}{
		{bus.ErrorInvalidArgs, []any{name, "a:b", "", none, none}},
		{bus.ErrorInvalidArgs, []any{name, "", "sh", none, none}},
		{bus.ErrorInvalidArgs, []any{name, "", "", none, []string{"x"}}},
		{bus.ErrorLimitsExceeded, []any{name, "", "", none, make([]string, 16385)}},
		{noSuchMachine, []any{"none", "", "", none, none}},
	} {
		h.fails(h.call("OpenMachineShell", c.args...), c.want)
	}
	for _, call := range []*dbus.Call{h.call("OpenMachineRootDirectory", name), h.ofMachine(object, "OpenRootDirectory")} {
		var fd dbus.UnixFD
		if err := call.Store(&fd); err != nil {
			t.Fatal(err)
		}
		dir := os.NewFile(uintptr(fd), "root")
		defer dir.Close() //nolint:errcheck // of a test
		if list, err := dir.Readdirnames(-1); err != nil || !strings.Contains(strings.Join(list, " "), "proc") {
			t.Errorf("root directory holds %q, %v", list, err)
		}
	}
	vm := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "vm", []byte{}, "", "vm", vm.pid(), "")
	for _, method := range []string{"OpenMachinePTY", "OpenMachineLogin", "OpenMachineRootDirectory", "GetMachineUIDShift", "GetMachineAddresses", "GetMachineOSRelease"} {
		h.fails(h.call(method, "vm"), bus.ErrorNotSupported)
	}
	h.fails(h.call("OpenMachineShell", "vm", "", "", none, none), bus.ErrorNotSupported)
}

func TestOthersOpenNothing(t *testing.T) {
	h := newBusHost(t)
	l := newLeader(t, 0)
	get[dbus.ObjectPath](h, "RegisterMachine", "foo", []byte{}, "", "container", l.pid(), "")
	for _, name := range []string{"foo", ".host"} {
		for _, call := range []string{
			"OpenMachinePTY s ", "OpenMachineLogin s ", "OpenMachineRootDirectory s ", "OpenMachineShell sssasas ",
		} {
			full := call + name
			if strings.HasPrefix(call, "OpenMachineShell") {
				full += " root /bin/sh 0 0"
			}
			if got := h.managerAs(65534, full); !strings.Contains(got, "Access denied") {
				t.Errorf("%s: %s", full, got)
			}
		}
	}
}

// Root in a user's machine that has the host's users would be root of the host,
// among programs of that user's choice.
func TestNobodyGetsAShellInAUsersMachine(t *testing.T) {
	h := newBusHost(t, "register-machine", "shell", "login")
	const owner = 65534
	mine := newLeader(t, owner)
	if got := h.managerAs(owner, fmt.Sprintf("RegisterMachine sayssus mine 0 test container %d /", mine.pid())); !strings.HasPrefix(got, "o ") {
		t.Fatal(got)
	}
	for _, uid := range []uint32{0, owner} {
		for _, user := range []string{"root", "nobody", "0"} {
			if got := h.managerAs(uid, "OpenMachineShell sssasas mine "+user+" /bin/true 0 0"); !strings.Contains(got, "Access denied") {
				t.Errorf("user %d asks for a shell of %s: %s", uid, user, got)
			}
		}
		if got := h.managerAs(uid, "OpenMachineLogin s mine"); !strings.Contains(got, "Access denied") {
			t.Errorf("user %d asks for a login: %s", uid, got)
		}
	}
	h.fails(h.call("OpenMachineShell", "mine", "", "", []string{}, []string{}), bus.ErrorAccessDenied)
}

func TestSessionsOverVarlink(t *testing.T) {
	auth := &asked{}
	h := newVarlinkHost(t, auth)
	boot(t, h.manager, "berth-tty-wire")
	const about = " machine=berth-tty-wire name=berth-tty-wire"
	open := func(in map[string]any) *os.File {
		t.Helper()
		var out struct {
			FD   int    `json:"ptyFileDescriptor"`
			Path string `json:"ptyPath"`
		}
		files, err := h.wire("Open", in, &out)
		if err != nil || len(files) != 1 || out.FD != 0 || !strings.HasPrefix(out.Path, "/dev/pts/") {
			t.Fatalf("Open %v: %+v, %v", in, out, err)
		}
		t.Cleanup(func() { _ = files[0].Close() })
		return files[0]
	}
	open(map[string]any{"name": "berth-tty-wire", "mode": "tty"})
	auth.want(t, "open-pty"+about)
	reads(t, open(map[string]any{
		"name": "berth-tty-wire", "mode": "shell", "user": "alice", "path": "/bin/sh",
		"args": []string{"sh", "-c", "echo $WORD; read x"}, "environment": []string{"WORD=seven"},
	}), "seven")
	auth.want(t, "shell command_line=sh -c echo $WORD; read x"+about+" program=/bin/sh user=alice verb=shell")
	h.wireFails("Open", map[string]any{"name": "berth-tty-wire", "mode": "login"}, "io.systemd.Machine.NoIPC")
	auth.want(t, "login"+about+" verb=login")
	open(map[string]any{"name": ".host", "mode": "tty"})
	auth.want(t, "host-open-pty machine=.host name=.host")
	for _, bad := range []map[string]any{
		{},
		{"mode": nil},
		{"mode": ""},
		{"mode": "window"},
		{"mode": "shell", "user": "a:b"},
		{"mode": "shell", "path": "sh"},
		{"mode": "shell", "environment": []string{"x"}},
		{"mode": "shell", "path": "/bin/sh", "args": []string{"a\x00"}},
	} {
		bad["name"] = "berth-tty-wire"
		h.wireFails("Open", bad, varlink.ErrorInvalidParameter)
	}
	h.wireFails("Open", map[string]any{"name": "none", "mode": "tty"}, "io.systemd.Machine.NoSuchMachine")
	var out struct {
		FD int `json:"fileDescriptor"`
	}
	files, err := h.wire("OpenRootDirectory", map[string]any{"name": "berth-tty-wire"}, &out)
	if err != nil || len(files) != 1 {
		t.Fatal(err)
	}
	defer files[0].Close() //nolint:errcheck // of a test
	auth.want(t, "manage-machines"+about+" verb=open_root_directory")
	if list, err := files[0].Readdirnames(-1); err != nil || !strings.Contains(strings.Join(list, " "), "proc") {
		t.Errorf("root directory holds %q, %v", list, err)
	}
}
