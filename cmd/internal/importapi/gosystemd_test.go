package importapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/import1"
)

// TestGoSystemd drives the daemon with the client that Go programs use for the
// original.
func TestGoSystemd(t *testing.T) {
	h := newHost(t)
	signals := h.signals()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", h.address)
	c, err := import1.New()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // of a test
	started, err := c.ImportTar(temp(t, tree(t)), "one", true, false)
	if err != nil {
		t.Fatal(err)
	}
	h.end(signals, started.Id)
	if text, err := os.ReadFile(filepath.Join(h.root, "one/etc/os-release")); err != nil || string(text) != "ID=test\n" {
		t.Errorf("image: %q, %v", text, err)
	}
	out := temp(t, nil)
	exported, err := c.ExportTar("one", out, "uncompressed")
	if err != nil {
		t.Fatal(err)
	}
	h.end(signals, exported.Id)
	if info, err := out.Stat(); err != nil || info.Size() == 0 {
		t.Errorf("export: %v, %v", info, err)
	}
	raw, err := c.ImportRaw(temp(t, make([]byte, 4096)), "disk", true, true)
	if err != nil {
		t.Fatal(err)
	}
	h.end(signals, raw.Id)
	if _, err := c.PullRaw("not a URL", "x", "no", true); err == nil {
		t.Error("what is no URL is pulled")
	}
	id, _ := h.waiting()
	list, err := c.ListTransfers()
	// The client calls the kind of transfer "Local", and what is local "Type".
	if err != nil || len(list) != 1 || list[0].Id != id || list[0].Local != "import-tar" || list[0].Type != "foo" {
		t.Errorf("transfers %+v, %v", list, err)
	}
	if err := c.CancelTransfer(id); err != nil {
		t.Error(err)
	}
	h.end(signals, id)
	// Its own tests look for these words.
	if err := c.CancelTransfer(4711); err == nil || !strings.Contains(err.Error(), "No transfer by id") {
		t.Errorf("no such transfer: %v", err)
	}
}
