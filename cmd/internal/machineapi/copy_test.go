package machineapi_test

import (
	"os"
	"path/filepath"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"

	"github.com/godbus/dbus/v5"
)

func wantText(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", path, got, err, want)
	}
}

func TestCopyOverTheBus(t *testing.T) {
	h := newBusHost(t)
	boot(t, h.manager, "berth-cp-bus")
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("CopyToMachine", "berth-cp-bus", source, "/etc/one")
	h.do("CopyFromMachine", "berth-cp-bus", "/etc/one", dir+"/back")
	wantText(t, dir+"/back", "one")
	const exists = "org.freedesktop.DBus.Error.FileExists"
	h.fails(h.call("CopyToMachine", "berth-cp-bus", source, "/etc/one"), exists)
	h.fails(h.call("CopyToMachineWithFlags", "berth-cp-bus", source, "/etc/one", uint64(0)), exists)
	h.do("CopyFromMachineWithFlags", "berth-cp-bus", "/etc/hostname", dir+"/back", uint64(1))
	wantText(t, dir+"/back", "minimal\n")
	object := "berth_2dcp_2dbus"
	for _, call := range []*dbus.Call{
		h.ofMachine(object, "CopyTo", source, "/etc/two"), h.ofMachine(object, "CopyFrom", "/etc/two", dir+"/two"),
		h.ofMachine(object, "CopyToWithFlags", source, "/etc/hostname", uint64(1)),
		h.ofMachine(object, "CopyFromWithFlags", "/etc/hostname", dir+"/back", uint64(1)),
	} {
		if call.Err != nil {
			t.Errorf("%s: %v", call.Method, call.Err)
		}
	}
	wantText(t, dir+"/back", "one")
	wantText(t, dir+"/two", "one")
	for _, c := range []struct {
		want string
		args []any
	}{
		{bus.ErrorInvalidArgs, []any{"berth-cp-bus", source, "/x", uint64(2)}},
		{bus.ErrorInvalidArgs, []any{"berth-cp-bus", "relative", "/x", uint64(0)}},
		{bus.ErrorInvalidArgs, []any{"berth-cp-bus", source, "/a/../x", uint64(0)}},
		{"org.freedesktop.DBus.Error.FileNotFound", []any{"berth-cp-bus", dir + "/absent", "/x", uint64(0)}},
		{"org.freedesktop.DBus.Error.FileNotFound", []any{"berth-cp-bus", source, "/absent/x", uint64(0)}},
		{bus.ErrorNotSupported, []any{".host", source, "/x", uint64(0)}},
		{noSuchMachine, []any{"none", source, "/x", uint64(0)}},
	} {
		h.fails(h.call("CopyToMachineWithFlags", c.args...), c.want)
	}
}

func TestCopyOverVarlink(t *testing.T) {
	auth := &asked{}
	h := newVarlinkHost(t, auth)
	boot(t, h.manager, "berth-cp-wire")
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	in := map[string]any{"name": "berth-cp-wire", "source": source, "destination": "/etc/one"}
	if _, err := h.wire("CopyTo", in, nil); err != nil {
		t.Fatal(err)
	}
	auth.want(t, "manage-machines dest=/etc/one machine=berth-cp-wire name=berth-cp-wire src="+source+" verb=copy")
	h.wireFails("CopyTo", in, varlink.ErrorSystem)
	in["replace"] = true
	if _, err := h.wire("CopyTo", in, nil); err != nil {
		t.Error(err)
	}
	if _, err := h.wire("CopyFrom", map[string]any{"name": "berth-cp-wire", "source": "/etc/one", "destination": dir + "/back"}, nil); err != nil {
		t.Error(err)
	}
	wantText(t, dir+"/back", "one")
	for name, change := range map[string]map[string]any{
		varlink.ErrorInvalidParameter:      {"source": "relative"},
		"io.systemd.Machine.NoSuchMachine": {"name": "none"},
		"io.systemd.Machine.NotSupported":  {"name": ".host"},
		varlink.ErrorSystem:                {"destination": "/absent/x"},
	} {
		bad := map[string]any{"name": "berth-cp-wire", "source": source, "destination": "/x"}
		for key, value := range change {
			bad[key] = value
		}
		h.wireFails("CopyTo", bad, name)
	}
}
