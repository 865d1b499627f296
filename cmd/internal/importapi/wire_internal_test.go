package importapi

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"berth/cmd/internal/bus"

	"github.com/google/go-cmp/cmp"
)

// extended adds the values for container registries, which systemd's importd knows
// and forgot to declare.
var extended = strings.NewReplacer("  raw,\n  tar\n", "  raw,\n  tar,\n  oci\n", "  pull_raw\n", "  pull_raw,\n  pull_oci\n")

// TestVarlinkIsThatOfTheStockDaemon: but for comments and layout, what io.systemd.Import
// has is what systemd 262 says of it. What is our own is in io.berth.Import.
func TestVarlinkIsThatOfTheStockDaemon(t *testing.T) {
	stock, err := os.ReadFile("testdata/io.systemd.Import.varlink")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(words(extended.Replace(string(stock))), words(systemdInterface)); diff != "" {
		t.Error(diff)
	}
}

func words(description string) []string {
	description = regexp.MustCompile(`#.*`).ReplaceAllString(description, "")
	return strings.Fields(regexp.MustCompile(`[():,]`).ReplaceAllString(description, " $0 "))
}

// To the byte what the stock daemon says, in whose file the nodes are those of a bus
// with a transfer on it.
func TestIntrospectWithoutABus(t *testing.T) {
	nodes := regexp.MustCompile(` <node name=".*"/>\n`)
	for path, want := range map[string]struct{ file, nodes string }{
		string(managerPath):        {"testdata/dbus-import1-manager.xml", " <node name=\"transfer\"/>\n"},
		string(transfersPath):      {"testdata/dbus-import1-transfer.xml", ""},
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
	list := "/org/freedesktop/import1\torg.freedesktop.import1.Manager\n" +
		"/org/freedesktop/import1/transfer\torg.freedesktop.import1.Transfer\n" +
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
