package machineapi_test

import (
	"os"
	"path/filepath"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"
)

func TestBindMountOverTheBus(t *testing.T) {
	h := newBusHost(t)
	const object, name = "berth_2dbind_2dbus", "berth-bind-bus"
	boot(t, h.manager, name)
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("BindMountMachine", name, source, "/srv/one", true, true)
	if err := h.ofMachine(object, "BindMount", source, "/srv/two", false, true).Err; err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/srv/one", "/srv/two"} {
		h.do("CopyFromMachineWithFlags", name, path, dir+"/back", uint64(1))
		wantText(t, dir+"/back", "host")
	}
	h.fails(h.call("BindMountMachine", name, source, "/absent", false, false), "org.freedesktop.DBus.Error.FileNotFound")
	h.fails(h.call("BindMountMachine", name, "source", "", false, false), bus.ErrorInvalidArgs)
	h.fails(h.call("BindMountMachine", ".host", source, "", false, false), bus.ErrorNotSupported)
	h.fails(h.call("BindMountMachine", "none", source, "", false, false), noSuchMachine)
}

func TestBindMountOverVarlink(t *testing.T) {
	auth := &asked{}
	h := newVarlinkHost(t, auth)
	boot(t, h.manager, "berth-bind-wire")
	dir := t.TempDir()
	in := map[string]any{"name": "berth-bind-wire", "source": dir, "mkdir": true, "readOnly": true}
	if _, err := h.wire("BindMount", in, nil); err != nil {
		t.Fatal(err)
	}
	auth.want(t, "manage-machines dest="+dir+" machine=berth-bind-wire name=berth-bind-wire src="+dir+" verb=bind")
	for name, change := range map[string]map[string]any{
		varlink.ErrorInvalidParameter:      {"destination": "relative"},
		"io.systemd.Machine.NoSuchMachine": {"name": "none"},
		"io.systemd.Machine.NotSupported":  {"name": ".host"},
		varlink.ErrorSystem:                {"destination": "/absent/x", "mkdir": false},
	} {
		bad := map[string]any{}
		for _, from := range []map[string]any{in, change} {
			for key, value := range from {
				bad[key] = value
			}
		}
		h.wireFails("BindMount", bad, name)
	}
}
