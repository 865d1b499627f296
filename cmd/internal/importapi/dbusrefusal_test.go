package importapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/importapi"
	"berth/cmd/internal/polkit"
	"berth/fixtures/await"
	"berth/fixtures/faultserver"
	"berth/fixtures/privatebus"
	"berth/images"
	"berth/importd"

	"github.com/godbus/dbus/v5"
)

func TestErrorsOverTheBus(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	server.Set("/stall.tar", faultserver.Answer{Body: tree(t), Fault: faultserver.Stall, At: 600})
	stall := server.URL("/stall.tar")
	h.start("PullTar", stall, "x", "no", false)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		method string
		args   []any
		want   string
	}{
		{"PullTar", []any{stall, "y", "no", false}, "org.freedesktop.import1.TransferInProgress"},
		{"PullTar", []any{"ftp://host/x.tar", "x", "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, "a/b", "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{"http://", "x", "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{"http://höst/x.tar", "x", "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{"file:x.tar", "x", "no", false}, bus.ErrorInvalidArgs},
		{"PullRaw", []any{"", "x", "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, ".#x", "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, "a\nb", "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, strings.Repeat("x", 256), "no", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, "x", "maybe", false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, "x", strings.Repeat("0", 64), false}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, "x", "no"}, bus.ErrorInvalidArgs},
		{"PullTar", []any{stall, "x", "no", uint32(1)}, bus.ErrorInvalidArgs},
		{"PullTarEx", []any{stall, "x", "", "no", uint64(0)}, bus.ErrorInvalidArgs},
		{"PullTarEx", []any{stall, "x", "boat", "no", uint64(0)}, bus.ErrorInvalidArgs},
		{"PullTarEx", []any{stall, "x", "machine", "no", uint64(8)}, bus.ErrorInvalidArgs},
		{"PullOci", []any{"docker.io/x", "x", "machine", uint64(0)}, bus.ErrorNotSupported},
		{"PullOci", []any{"docker.io/x", "x", "boat", uint64(0)}, bus.ErrorInvalidArgs},
		{"PullOci", []any{"docker.io/x", "x", "machine", uint64(4)}, bus.ErrorInvalidArgs},
		{"PullOci", []any{"docker.io/x", "..", "machine", uint64(0)}, bus.ErrorInvalidArgs},
		{"PullRawEx", []any{stall, "x", "sysext", "no", uint64(1) << 63}, bus.ErrorInvalidArgs},
		{"ImportTarEx", []any{fd(null), "x", "machine", uint64(4)}, bus.ErrorInvalidArgs},
		{"ImportRawEx", []any{fd(temp(t, nil)), "x", "boat", uint64(0)}, bus.ErrorInvalidArgs},
		{"ImportRaw", []any{fd(temp(t, nil)), "..", false, false}, bus.ErrorInvalidArgs},
		{"ImportFileSystemEx", []any{fd(null), "x", "", uint64(0)}, bus.ErrorInvalidArgs},
		{"ImportTar", []any{"a file", "x", false, false}, bus.ErrorInvalidArgs},
		{"ExportRaw", []any{"a/b", fd(temp(t, nil)), ""}, bus.ErrorInvalidArgs},
		{"ExportRawEx", []any{"x", "boat", fd(temp(t, nil)), "", uint64(0)}, bus.ErrorInvalidArgs},
		{"ImportTar", []any{fd(temp(t, nil)), "", false, false}, bus.ErrorInvalidArgs},
		{"ExportTar", []any{"x", fd(temp(t, nil)), "rar"}, bus.ErrorInvalidArgs},
		{"ExportTarEx", []any{"x", "machine", fd(temp(t, nil)), "", uint64(1)}, bus.ErrorInvalidArgs},
		{"CancelTransfer", []any{uint32(0)}, bus.ErrorInvalidArgs},
		{"CancelTransfer", []any{uint32(99)}, "org.freedesktop.import1.NoSuchTransfer"},
		{"ListTransfersEx", []any{"boat", uint64(0)}, bus.ErrorInvalidArgs},
		{"ListTransfersEx", []any{"", uint64(1)}, bus.ErrorInvalidArgs},
		{"ListImages", []any{"", uint64(1)}, bus.ErrorInvalidArgs},
		{"ListImages", []any{"boat", uint64(0)}, bus.ErrorInvalidArgs},
		{"Fly", nil, bus.ErrorUnknownMethod},
	} {
		h.fails(h.call(tt.method, tt.args...), tt.want)
	}
	if list := h.manager.List(); len(list) != 1 {
		t.Errorf("transfers: %v", list)
	}
	for _, label := range []string{"_0", "_01", "1", "_2", "_x", "_4294967297"} {
		o := h.conn.Object(importapi.BusName, managerPath+"/transfer/"+dbus.ObjectPath(label))
		h.fails(o.Call(transfer+".Cancel", 0), bus.ErrorUnknownObject)
	}
}

func TestTooManyTransfersOverTheBus(t *testing.T) {
	h := newHost(t)
	for range importd.MaxTransfers {
		h.waiting()
	}
	h.fails(h.call("ImportTar", fd(temp(t, nil)), "foo", false, false), "System.Error.E2BIG")
}

func TestOtherUsersMayOnlyLook(t *testing.T) {
	h := newHost(t)
	_, path := h.waiting()
	call := []string{"call", importapi.BusName, string(managerPath), manager}
	for args, want := range map[string]string{
		"PullTar sssb http://127.0.0.1:1/x.tar x no 0":            "Access denied",
		"PullRawEx sssst http://127.0.0.1:1/x.raw x machine no 0": "Access denied",
		"CancelTransfer u 1":    "Access denied",
		"ListImages st  0":      "a(ssssbtttttt) 0",
		"ListTransfersEx st  0": `a(ussssdo) 1 1`,
	} {
		got := h.busctlAs(65534, append(call, strings.Split(args, " ")...)...)
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s", args, got)
		}
	}
	if got := h.busctlAs(65534, "call", importapi.BusName, string(path), transfer, "Cancel"); !strings.Contains(got, "Access denied") {
		t.Errorf("Cancel: %s", got)
	}
	if list := h.manager.List(); len(list) != 1 {
		t.Errorf("transfers: %v", list)
	}
}

// What polkit says has the names that clients look for.
func TestDeniedOverTheBus(t *testing.T) {
	for _, test := range []struct {
		denied error
		want   string
	}{{polkit.ErrDenied, bus.ErrorAccessDenied}, {polkit.ErrInteractive, bus.ErrorInteractive}} {
		t.Run(test.want, func(t *testing.T) {
			h := newHostWith(t, refusing{test.denied})
			// It was begun by somebody else.
			id := h.begun()
			h.fails(h.call("PullRaw", "http://127.0.0.1:1/x.raw", "x", "no", false), test.want)
			h.fails(h.call("ImportTar", fd(temp(t, nil)), "x", false, false), test.want)
			h.fails(h.call("ExportTar", "x", fd(temp(t, nil)), ""), test.want)
			h.fails(h.call("CancelTransfer", uint32(1)), test.want)
			h.fails(h.conn.Object(importapi.BusName, managerPath+"/transfer/_1").Call(transfer+".Cancel", 0), test.want)
			if list := h.manager.List(); len(list) != 1 || list[0].ID != id {
				t.Errorf("transfers: %v", list)
			}
		})
	}
}

// begun starts a transfer without asking anybody.
func (h *host) begun() uint32 {
	h.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = w.Close() })
	transfer, err := h.manager.Start(importd.Request{Kind: importd.ImportTar, Class: images.ClassMachine, Local: "begun", File: r})
	if err != nil {
		h.t.Fatal(err)
	}
	return transfer.ID()
}

// A bus that goes is no reason to end a transfer, or the daemon.
func TestTransfersOutliveTheBus(t *testing.T) {
	h := newHost(t)
	id, _ := h.waiting()
	h.stopBus()
	h.stopBus = privatebus.Run(t, filepath.Join(h.dir, "bus"))
	h.conn = h.connect()
	h.awaitName()
	if list := h.manager.List(); len(list) != 1 || list[0].ID != id {
		t.Errorf("transfers: %v", list)
	}
	signals := h.signals()
	if err := h.call("CancelTransfer", id).Err; err != nil {
		t.Error(err)
	}
	h.end(signals, id)
}

// The files of refused calls are closed.
func TestRefusedCallsLeaveNoFileOpen(t *testing.T) {
	h := newHost(t)
	file := fd(temp(t, nil))
	refuse := func() {
		h.fails(h.call("ImportTar", file, "a/b", false, false), bus.ErrorInvalidArgs)
		h.fails(h.call("ImportTarEx", file, "a", "boat", uint64(0)), bus.ErrorInvalidArgs)
	}
	refuse()
	before := openFiles(t)
	for range 5 {
		refuse()
	}
	if !await.Met(time.Minute, func() bool { return openFiles(t) <= before }) {
		t.Fatalf("%d files are open, before it were %d", openFiles(t), before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
