package machineapi

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
)

// To the byte what the stock daemon says, in whose files the nodes are those of a
// bus with machines and images on it.
func TestIntrospectWithoutABus(t *testing.T) {
	nodes := regexp.MustCompile(` <node name=".*"/>\n`)
	for path, want := range map[string]struct{ file, nodes string }{
		string(busPath):            {"testdata/dbus-machine1-manager.xml", " <node name=\"machine\"/>\n <node name=\"image\"/>\n"},
		string(busMachines):        {"testdata/dbus-machine1-machine.xml", ""},
		string(busImages):          {"testdata/dbus-machine1-image.xml", ""},
		string(bus.LogControlPath): {"../bus/testdata/dbus-logcontrol1.xml", ""},
	} {
		text, err := os.ReadFile(want.file)
		if err != nil {
			t.Fatal(err)
		}
		stock := strings.TrimSuffix(strings.TrimSpace(nodes.ReplaceAllString(string(text), "")), "</node>") + want.nodes + "</node>\n"
		var out strings.Builder
		if err := Introspect(&out, path); err != nil || out.String() != stock {
			t.Errorf("%s: %v\n%s", path, err, out.String())
		}
	}
	var out strings.Builder
	list := "/org/freedesktop/machine1\torg.freedesktop.machine1.Manager\n" +
		"/org/freedesktop/machine1/machine\torg.freedesktop.machine1.Machine\n" +
		"/org/freedesktop/machine1/image\torg.freedesktop.machine1.Image\n" +
		"/org/freedesktop/LogControl1\torg.freedesktop.LogControl1\n"
	if err := Introspect(&out, "list"); err != nil || out.String() != list {
		t.Errorf("list: %v\n%s", err, out.String())
	}
	for _, path := range []string{"/nowhere", "", "/"} {
		if err := Introspect(io.Discard, path); err == nil {
			t.Errorf("an object at %q was described", path)
		}
	}
}
