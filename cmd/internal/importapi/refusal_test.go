package importapi_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/importapi"
	"berth/cmd/internal/polkit"
	"berth/images"
	"berth/importd"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// unusablePools make of a path what cannot be the directory of machine images.
var unusablePools = map[unix.Errno]func(path string) error{
	unix.ENOTDIR: func(path string) error { return os.WriteFile(path, nil, 0o600) },
	unix.ELOOP:   func(path string) error { return os.Symlink(path, path) },
}

// spoil makes the pool unusable.
func spoil(t *testing.T, pool string, how func(path string) error) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(pool), 0o755)
	if err == nil {
		err = how(pool)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(pool); err != nil {
			t.Error(err)
		}
	})
}

func TestUnusablePoolOverTheBus(t *testing.T) {
	for errno, how := range unusablePools {
		t.Run(errno.Error(), func(t *testing.T) {
			h := newHost(t)
			spoil(t, h.root, how)
			want := "System.Error." + unix.ErrnoName(errno)
			for _, call := range []*dbus.Call{
				h.call("PullTar", "http://127.0.0.1:1/x.tar", "x", "no", false),
				h.call("PullRawEx", "http://127.0.0.1:1/x.raw", "x", "machine", "no", uint64(0)),
				h.call("ImportRaw", fd(temp(t, nil)), "x", false, false),
			} {
				h.fails(call, want)
				if text := call.Err.Error(); !strings.Contains(text, "pool of machine images") || !strings.Contains(text, h.root) {
					t.Errorf("%s: %s", call.Method, text)
				}
			}
			if list := h.manager.List(); len(list) > 0 {
				t.Errorf("something runs: %v", list)
			}
			// Other classes have other places.
			signals := h.signals()
			id, _ := h.start("ImportRawEx", fd(temp(t, []byte("disk"))), "x", "portable", uint64(0))
			if seen := h.end(signals, id); seen[len(seen)-1].Body[2] != "done" {
				t.Errorf("a portable service: %v", seen[len(seen)-1].Body)
			}
		})
	}
}

func TestUnusablePoolOverVarlink(t *testing.T) {
	for errno, how := range unusablePools {
		t.Run(errno.Error(), func(t *testing.T) {
			path, service := serveVarlinkWith(t, everybody)
			client, raw := dialVarlink(t, path)
			spoil(t, service.Images.Locations().Pool[images.ClassMachine], how)
			pull := importapi.PullParameters{Remote: "http://127.0.0.1:1/x.tar", Type: importapi.FormTar, Class: images.ClassMachine, Verify: importd.VerifyNo}
			for _, method := range []string{"io.systemd.Import.Pull", "io.berth.Import.Pull"} {
				if _, err := raw.Call(t.Context(), method, pull, nil); !errors.Is(err, errno) || !strings.Contains(err.Error(), "pool of machine images") {
					t.Errorf("%s: %v, want %v", method, err, errno)
				}
			}
			_, err := listenTo(client.Import(t.Context(), importapi.ImportParameters{Local: "x", Type: importapi.FormRaw, Class: images.ClassMachine}, temp(t, nil)))
			if !errors.Is(err, errno) {
				t.Errorf("an import: %v, want %v", err, errno)
			}
			if list := service.Manager.List(); len(list) > 0 {
				t.Errorf("something runs: %v", list)
			}
		})
	}
}

// asked notes what polkit would be asked, and lets nobody do anything.
type asked struct {
	mu  sync.Mutex
	all []question
}

type question struct {
	action      string
	details     map[string]string
	interactive bool
}

func (a *asked) Check(_ context.Context, _ polkit.Subject, action string, details map[string]string, interactive bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, question{action, details, interactive})
	return polkit.ErrDenied
}

// take returns the questions since the last time.
func (a *asked) take() []question {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.all = nil }()
	return slices.Clone(a.all)
}

// Whether somebody may be asked for a password is the caller's to say, and what for
// is another question for each kind of call.
func TestPolkitIsAskedOverTheBus(t *testing.T) {
	auth := &asked{}
	h := newHostWith(t, auth)
	h.begun()
	const begun = managerPath + "/transfer/_1"
	for _, test := range []struct {
		path          dbus.ObjectPath
		iface, method string
		args          []any
		action        string
	}{
		{managerPath, manager, "PullTar", []any{"http://127.0.0.1:1/x.tar", "x", "no", false}, "pull"},
		{managerPath, manager, "PullRawEx", []any{"", "", "", "", uint64(99)}, "pull"}, // before anything is looked at
		{managerPath, manager, "ImportRaw", []any{fd(temp(t, nil)), "x", false, false}, "import"},
		{managerPath, manager, "ImportFileSystemEx", []any{fd(temp(t, nil)), "x", "machine", uint64(0)}, "import"},
		{managerPath, manager, "ExportTar", []any{"x", fd(temp(t, nil)), ""}, "export"},
		{managerPath, manager, "CancelTransfer", []any{uint32(1)}, "cancel"},
		{begun, transfer, "Cancel", nil, "cancel"},
	} {
		for _, interactive := range []bool{false, true} {
			call := bus.Request{
				Service: importapi.BusName, Path: test.path, Interface: test.iface, Method: test.method, Args: test.args, Interactive: interactive,
			}.Send(t.Context(), h.conn)
			if e, ok := errors.AsType[dbus.Error](call.Err); !ok || e.Name != bus.ErrorAccessDenied {
				t.Errorf("%s: %v", test.method, call.Err)
			}
			got := auth.take()
			if len(got) != 1 || got[0].action != "org.freedesktop.import1."+test.action || got[0].interactive != interactive || len(got[0].details) > 0 {
				t.Errorf("%s: polkit was asked %+v", test.method, got)
			}
		}
	}
	for _, free := range []*dbus.Call{h.call("ListTransfers"), h.call("ListImages", "", uint64(0))} {
		if free.Err != nil || len(auth.take()) > 0 {
			t.Errorf("%s: %v", free.Method, free.Err)
		}
	}
}

func TestPolkitIsAskedOverVarlink(t *testing.T) {
	auth := &asked{}
	path, _ := serveVarlink(t, auth)
	_, raw := dialVarlink(t, path)
	pull := map[string]any{"remote": "http://127.0.0.1:1/x.tar", "local": "x", "type": "tar", "class": "sysext", "verify": "no"}
	details := map[string]string{"remote": "http://127.0.0.1:1/x.tar", "local": "x", "type": "tar", "class": "sysext", "verify": "no"}
	file := map[string]any{"fileDescriptor": 0, "local": "x", "type": "tar", "class": "machine"}
	for _, test := range []struct {
		method  string
		in      map[string]any
		action  string
		details map[string]string
	}{
		{"io.systemd.Import.Pull", pull, "pull", details},
		{"io.berth.Import.Pull", pull, "pull", details},
		{"io.berth.Import.Import", file, "import", nil},
		{"io.berth.Import.Export", file, "export", nil},
		{"io.berth.Import.Cancel", map[string]any{"id": 1}, "cancel", nil},
	} {
		for _, interactive := range []bool{false, true} {
			test.in["allowInteractiveAuthentication"] = interactive
			if _, err := raw.Call(t.Context(), test.method, test.in, nil); err == nil {
				t.Errorf("%s was let through", test.method)
			}
			got := auth.take()
			if len(got) != 1 || got[0].action != "org.freedesktop.import1."+test.action || got[0].interactive != interactive || !maps.Equal(got[0].details, test.details) {
				t.Errorf("%s: polkit was asked %+v", test.method, got)
			}
		}
	}
}
