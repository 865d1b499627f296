package importapi_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/importapi"
	"berth/fixtures/await"
	"berth/fixtures/privatebus"
	"berth/images"
	"berth/importd"

	"github.com/godbus/dbus/v5"
)

const (
	manager     = "org.freedesktop.import1.Manager"
	managerPath = dbus.ObjectPath("/org/freedesktop/import1")
	transfer    = "org.freedesktop.import1.Transfer"
)

// host is an importd with directories and a bus of its own.
type host struct {
	t       *testing.T
	address string
	dir     string // holds the socket of the bus
	root    string // the image root of machines
	stopBus func()
	// leaveBus ends the service on the bus; transfers go on.
	leaveBus func()
	manager  *importd.Manager
	conn     *dbus.Conn // a client
}

func newHost(t *testing.T) *host {
	t.Helper()
	return newHostWith(t, everybody)
}

func newHostWith(t *testing.T, auth importapi.Authorizer) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes files of other users")
	}
	dir, err := os.MkdirTemp("/var/tmp", "berth-importapi-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	locations := images.SystemLocations(dir)
	locations.Host = false
	store := images.NewStore(locations)
	h := &host{
		t: t, dir: dir, root: locations.Pool[images.ClassMachine],
		address: "unix:path=" + filepath.Join(dir, "bus"), stopBus: privatebus.Run(t, filepath.Join(dir, "bus")),
		manager: importd.New(t.Context(), importd.Config{
			Locations: locations, UserAgent: "berth-test", NoSync: true, Logger: slog.New(slog.DiscardHandler),
		}),
	}
	t.Cleanup(func() { h.stopBus() })
	t.Cleanup(func() {
		h.manager.Close()
		if _, err := store.Clean(context.Background(), images.ClassMachine, images.CleanAll); err != nil {
			t.Error(err)
		}
	})
	h.serve(&importapi.Service{Manager: h.manager, Images: store, Auth: auth})
	return h
}

// serve puts the service on the bus until the test ends.
func (h *host) serve(s *importapi.Service) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	b := s.NewBus(bus.Config{Address: h.address})
	go func() { done <- b.Run(ctx) }()
	h.leaveBus = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(h.leaveBus)
	h.conn = h.connect()
	h.awaitName()
}

// awaitName waits until importd is on the bus.
func (h *host) awaitName() {
	h.t.Helper()
	await.Until(h.t, time.Minute, "importd on the bus", func() (owned bool) {
		if err := h.conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, importapi.BusName).Store(&owned); err != nil {
			h.t.Fatalf("importd does not come to the bus: %v", err)
		}
		return owned
	})
}

func (h *host) connect() *dbus.Conn {
	h.t.Helper()
	c, err := dbus.Connect(h.address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// call calls the manager.
func (h *host) call(method string, args ...any) *dbus.Call {
	return h.conn.Object(importapi.BusName, managerPath).CallWithContext(h.t.Context(), manager+"."+method, 0, args...)
}

// start makes a call that must start a transfer.
func (h *host) start(method string, args ...any) (uint32, dbus.ObjectPath) {
	h.t.Helper()
	var id uint32
	var path dbus.ObjectPath
	if err := h.call(method, args...).Store(&id, &path); err != nil {
		h.t.Fatalf("%s: %v", method, err)
	}
	if want := dbus.ObjectPath(fmt.Sprintf("%s/transfer/_%d", managerPath, id)); path != want {
		h.t.Errorf("%s: path %s, want %s", method, path, want)
	}
	return id, path
}

// signals gives all signals of importd from now on.
func (h *host) signals() <-chan *dbus.Signal {
	h.t.Helper()
	if err := h.conn.AddMatchSignal(dbus.WithMatchSender(importapi.BusName)); err != nil {
		h.t.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 10000)
	h.conn.Signal(signals)
	return signals
}

// end waits for the end of a transfer and gives the signals until then; the
// last is TransferRemoved.
func (h *host) end(signals <-chan *dbus.Signal, id uint32) []*dbus.Signal {
	h.t.Helper()
	var seen []*dbus.Signal
	timeout := time.After(60 * time.Second)
	for {
		select {
		case s := <-signals:
			seen = append(seen, s)
			if s.Name == manager+".TransferRemoved" && s.Body[0] == id {
				return seen
			}
		case <-timeout:
			h.t.Fatalf("no end of transfer %d, but %d signals", id, len(seen))
		}
	}
}

func (h *host) busctl(args ...string) string {
	h.t.Helper()
	return h.busctlAs(0, args...)
}

// busctlAs gives what busctl prints when it is run by a user.
func (h *host) busctlAs(uid uint32, args ...string) string {
	h.t.Helper()
	program, err := exec.LookPath("busctl")
	if err != nil {
		h.t.Skip("needs busctl")
	}
	cmd := exec.CommandContext(h.t.Context(), program, append([]string{"--address=" + h.address, "--no-pager"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// fails checks the name of the error of a call.
func (h *host) fails(call *dbus.Call, name string) {
	h.t.Helper()
	var e dbus.Error
	if !errors.As(call.Err, &e) || e.Name != name {
		h.t.Errorf("%s %v: %s %v, want %s", call.Method, call.Args, e.Name, call.Err, name)
	}
}

// tree is a small operating system tree as a tar archive.
func tree(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	text := "ID=test\n"
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./etc/os-release", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// temp returns an open file with the given content.
func temp(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

func fd(f *os.File) dbus.UnixFD { return dbus.UnixFD(f.Fd()) }

// waiting starts an import of "foo" that waits for its pipe, which the test closes.
func (h *host) waiting() (uint32, dbus.ObjectPath) {
	h.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = w.Close() })
	id, path := h.start("ImportTar", fd(r), "foo", false, false)
	if err := r.Close(); err != nil {
		h.t.Error(err)
	}
	return id, path
}
