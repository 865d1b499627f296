package importapi_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/importapi"
	"berth/fixtures/faultserver"
	"berth/images"

	"github.com/godbus/dbus/v5"
)

func TestIntrospectionIsThatOfTheStockDaemon(t *testing.T) {
	h := newHost(t)
	_, path := h.waiting()
	for file, path := range map[string]dbus.ObjectPath{
		"dbus-import1-manager.xml": managerPath, "dbus-import1-transfer.xml": path,
	} {
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := h.busctl("introspect", "--xml-interface", importapi.BusName, string(path)); got != strings.TrimSpace(string(want)) {
			t.Errorf("%s:\n%s", path, got)
		}
	}
	if got := h.busctl("tree", importapi.BusName); !strings.HasSuffix(got, "/org/freedesktop/import1/transfer/_1") {
		t.Errorf("tree:\n%s", got)
	}
}

func TestPullOverTheBus(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	server.Set("/foo.tar", faultserver.Answer{Body: tree(t), ETag: `"1"`})
	signals := h.signals()
	for i, tt := range []struct {
		method string
		args   []any
		image  string
		result string
	}{
		{"PullTar", []any{server.URL("/foo.tar"), "a", "no", false}, "a", "done"},
		{"PullTar", []any{server.URL("/foo.tar"), "a", "no", false}, "a", "failed"},
		{"PullTar", []any{server.URL("/foo.tar"), "a", "no", true}, "a", "done"},
		{"PullTarEx", []any{server.URL("/foo.tar"), "b", "machine", "no", uint64(7)}, "b", "done"},
		{"PullRaw", []any{server.URL("/none.raw"), "c", "", false}, "", "failed"},
		{"PullRawEx", []any{server.URL("/foo.tar"), "d", "machine", "no", uint64(0)}, "d.raw", "done"},
	} {
		call := h.call(tt.method, tt.args...)
		if call.Err != nil {
			t.Fatalf("%s %v: %v", tt.method, tt.args, call.Err)
		}
		id := call.Body[0].(uint32)
		if id != uint32(i+1) {
			t.Errorf("%s %v: id %d", tt.method, tt.args, id)
		}
		seen := h.end(signals, id)
		first, last := seen[0], seen[len(seen)-1]
		if first.Name != manager+".TransferNew" || !slices.Equal(first.Body, call.Body) || first.Sequence >= call.ResponseSequence {
			t.Errorf("%s: first signal is %+v", tt.method, first)
		}
		if !slices.Equal(last.Body, append(call.Body, tt.result)) || last.Sequence <= call.ResponseSequence {
			t.Errorf("%s %v: last signal is %+v", tt.method, tt.args, last)
		}
		checkTransferSignals(t, seen[1:len(seen)-1], call.Body[1].(dbus.ObjectPath))
		if tt.image != "" {
			if _, err := os.Stat(filepath.Join(h.root, tt.image)); err != nil {
				t.Error(err)
			}
		}
	}
}

// checkTransferSignals checks what comes between the beginning and the end.
func checkTransferSignals(t *testing.T, signals []*dbus.Signal, path dbus.ObjectPath) {
	t.Helper()
	logs := 0
	for _, s := range signals {
		var priority uint32
		var line string
		var progress float64
		switch {
		case s.Path != path:
			t.Errorf("a signal comes from %s, not %s", s.Path, path)
		case s.Name == transfer+".LogMessage":
			logs++
			if err := dbus.Store(s.Body, &priority, &line); err != nil || priority > 7 || line == "" {
				t.Errorf("log line %v, %v", s.Body, err)
			}
		case s.Name == transfer+".ProgressUpdate":
			if err := dbus.Store(s.Body, &progress); err != nil || progress < 0 || progress > 1 {
				t.Errorf("progress %v, %v", s.Body, err)
			}
		default:
			t.Errorf("unexpected signal %+v", s)
		}
	}
	if logs == 0 {
		t.Error("no log line came")
	}
}

// An empty name means that no local image is wanted, only the copy to keep.
func TestPullWithoutNameOverTheBus(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	server.Set("/foo.tar", faultserver.Answer{Body: tree(t), ETag: `"1"`})
	signals := h.signals()
	id, _ := h.start("PullTarEx", server.URL("/foo.tar"), "", "machine", "no", uint64(4))
	h.end(signals, id)
	entries, err := os.ReadDir(h.root)
	if err != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].Name(), ".tar-http:") {
		t.Errorf("the image root has %v, %v", entries, err)
	}
}

func TestImportAndExportOverTheBus(t *testing.T) {
	h := newHost(t)
	signals := h.signals()
	do := func(method string, args ...any) {
		t.Helper()
		id, _ := h.start(method, args...)
		if seen := h.end(signals, id); seen[len(seen)-1].Body[2] != "done" {
			t.Errorf("%s %v: %v", method, args, seen[len(seen)-1].Body)
		}
	}
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	disk := append(make([]byte, 8192), "data"...)
	do("ImportTar", fd(temp(t, tree(t))), "a", false, false)
	do("ImportTarEx", fd(temp(t, tree(t))), "a", "machine", uint64(1))
	do("ImportRaw", fd(temp(t, disk)), "d", false, true)
	do("ImportRawEx", fd(temp(t, disk)), "d2", "machine", uint64(2))
	for _, name := range []string{"d.raw", "d2.raw"} {
		if info, err := os.Stat(filepath.Join(h.root, name)); err != nil || info.Mode().Perm()&0o222 != 0 {
			t.Errorf("read-only image %s: %v, %v", name, info, err)
		}
	}
	dir, err := os.Open(filepath.Join(h.root, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	do("ImportFileSystem", fd(dir), "fs", false, false)
	do("ImportFileSystemEx", fd(dir), "fs2", "machine", uint64(0))
	for _, name := range []string{"a", "fs", "fs2"} {
		if got := read(filepath.Join(h.root, name, "etc/os-release")); got != "ID=test\n" {
			t.Errorf("%s has %q", name, got)
		}
	}
	for _, method := range []string{"ExportRaw", "ExportRawEx", "ExportTar", "ExportTarEx"} {
		out, local := temp(t, nil), "a"
		if strings.HasPrefix(method, "ExportRaw") {
			local = "d"
		}
		if strings.HasSuffix(method, "Ex") {
			do(method, local, "machine", fd(out), "gzip", uint64(0))
			if got := read(out.Name()); !strings.HasPrefix(got, "\x1f\x8b") {
				t.Errorf("%s gives %q", method, got)
			}
			continue
		}
		do(method, local, fd(out), "")
		got := read(out.Name())
		if local == "d" && got != string(disk) || local == "a" && !strings.Contains(got, "ID=test\n") {
			t.Errorf("%s gives %d bytes", method, len(got))
		}
	}
}

func TestTransferObject(t *testing.T) {
	h := newHost(t)
	signals := h.signals()
	id, path := h.waiting()
	o := h.conn.Object(importapi.BusName, path)
	for _, iface := range []string{"", transfer} {
		var got map[string]any
		if err := o.Call("org.freedesktop.DBus.Properties.GetAll", 0, iface).Store(&got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"Id": id, "Local": "foo", "Remote": "", "Type": "import-tar", "Verify": "", "Progress": -math.MaxFloat64,
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s of %q: %v, want %v", name, iface, got[name], value)
			}
		}
		if len(got) != len(want) {
			t.Errorf("properties of %q: %v", iface, got)
		}
	}
	if err := o.Call(transfer+".Cancel", 0).Err; err != nil {
		t.Fatal(err)
	}
	if seen := h.end(signals, id); seen[len(seen)-1].Body[2] != "canceled" {
		t.Errorf("after Cancel: %v", seen[len(seen)-1].Body)
	}
	h.fails(o.Call(transfer+".Cancel", 0), bus.ErrorUnknownObject)

	id, _ = h.waiting()
	if err := h.call("CancelTransfer", id).Err; err != nil {
		t.Fatal(err)
	}
	if seen := h.end(signals, id); seen[len(seen)-1].Body[2] != "canceled" {
		t.Errorf("after CancelTransfer: %v", seen[len(seen)-1].Body)
	}
	call := h.call("CancelTransfer", id)
	h.fails(call, "org.freedesktop.import1.NoSuchTransfer")
	if call.Err.Error() != "No transfer by id 2" {
		t.Errorf("text of the error: %v", call.Err)
	}
}

func TestListsOverTheBus(t *testing.T) {
	h := newHost(t)
	if got := h.busctl("call", importapi.BusName, string(managerPath), manager, "ListTransfers"); got != "a(usssdo) 0" {
		t.Errorf("no transfers: %s", got)
	}
	if got := h.busctl("call", importapi.BusName, string(managerPath), manager, "ListImages", "st", "", "0"); got != "a(ssssbtttttt) 0" {
		t.Errorf("no images: %s", got)
	}
	h.waiting()
	for args, want := range map[string]string{
		"ListTransfers":               `a(usssdo) 1 1 "import-tar" "" "foo" -1.79769e+308 "/org/freedesktop/import1/transfer/_1"`,
		"ListTransfersEx st  0":       `a(ussssdo) 1 1 "import-tar" "" "foo" "machine" -1.79769e+308 "/org/freedesktop/import1/transfer/_1"`,
		"ListTransfersEx st sysext 0": `a(ussssdo) 0`,
	} {
		command := append([]string{"call", importapi.BusName, string(managerPath), manager}, strings.Split(args, " ")...)
		if got := h.busctl(command...); got != want {
			t.Errorf("%s: %s", args, got)
		}
	}
	before := time.Now().Add(-time.Hour)
	if err := os.MkdirAll(filepath.Join(h.root, "one"), 0o755); err != nil {
		t.Fatal(err)
	}
	type image struct {
		Class, Name, Type, Path                      string
		ReadOnly                                     bool
		Created, Modified                            uint64
		Usage, UsageExclusive, Limit, LimitExclusive uint64
	}
	var list []image
	if err := h.call("ListImages", "machine", uint64(0)).Store(&list); err != nil || len(list) != 1 {
		t.Fatalf("images: %v, %v", list, err)
	}
	got := list[0]
	if got.Created < uint64(before.UnixMicro()) || got.Created > uint64(time.Now().UnixMicro()) {
		t.Errorf("created %d", got.Created)
	}
	got.Created = 0
	if want := (image{
		Class: "machine", Name: "one", Type: got.Type, Path: filepath.Join(h.root, "one"),
		Usage: images.Unknown, UsageExclusive: images.Unknown, Limit: images.Unknown, LimitExclusive: images.Unknown,
	}); got != want {
		t.Errorf("image %+v, want %+v", got, want)
	}
}
