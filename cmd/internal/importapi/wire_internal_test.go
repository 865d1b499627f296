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

func TestIntrospectWithoutABus(t *testing.T) {
	for path, want := range map[string]string{
		"list":                     "/org/freedesktop/import1/transfer\torg.freedesktop.import1.Transfer\n",
		string(managerPath):        `<method name="PullOci">`,
		string(transfersPath):      `<signal name="ProgressUpdate">`,
		string(bus.LogControlPath): `<property name="SyslogIdentifier"`,
	} {
		var out strings.Builder
		if err := Introspect(&out, path); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v\n%s", path, err, out.String())
		}
	}
	if err := Introspect(io.Discard, "/nowhere"); err == nil {
		t.Error("an object that is not there was described")
	}
}
