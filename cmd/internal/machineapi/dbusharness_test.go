package machineapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/fixtures/await"
	"berth/fixtures/privatebus"
	"berth/images"
	"berth/machined"
	"berth/machined/units/unitstest"

	"github.com/godbus/dbus/v5"
)

const (
	managerPath  = dbus.ObjectPath("/org/freedesktop/machine1")
	machines     = managerPath + "/machine/"
	imagesPath   = managerPath + "/image/"
	managerIface = machineapi.BusName + ".Manager"
	machineIface = machineapi.BusName + ".Machine"
	imageIface   = machineapi.BusName + ".Image"
)

// busHost is a machined with directories, units and a bus of its own.
type busHost struct {
	t       *testing.T
	address string
	pool    string
	state   string
	manager *machined.Manager
	conn    *dbus.Conn // a client
}

// allow lets everybody do what is listed, and root everything.
type allow []string

// Check is part of machineapi.Authorizer.
func (a allow) Check(ctx context.Context, who polkit.Subject, action string, about map[string]string, interactive bool) error {
	for _, allowed := range a {
		if action == machineapi.BusName+"."+allowed {
			return nil
		}
	}
	return polkit.Local{Group: polkit.NoGroup}.Check(ctx, who, action, about, interactive)
}

func newBusHost(t *testing.T, allowed ...string) *busHost {
	t.Helper()
	return newBusHostOver(t, func(s *images.Store) machined.ImageStore { return s }, allow(allowed))
}

// newBusHostOver is newBusHost with another store of images, and somebody else
// who decides what is allowed.
func newBusHostOver(
	t *testing.T, store func(*images.Store) machined.ImageStore, auth machineapi.Authorizer, change ...func(*machined.Config),
) *busHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: acts for other users")
	}
	dir, err := os.MkdirTemp("/var/tmp", "berth-machineapi-")
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
	units, err := unitstest.NewFake()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := units.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &busHost{
		t: t, pool: locations.Pool[images.ClassMachine], state: filepath.Join(dir, "machines"),
		address: privatebus.StartAt(t, filepath.Join(dir, "bus")),
	}
	config := machined.Config{
		StateDir: h.state, RunDir: filepath.Join(dir, "run"), LogDir: filepath.Join(dir, "log"),
		Units: units, Images: store(images.NewStore(locations)), Host: true,
	}
	for _, f := range change {
		f(&config)
	}
	h.manager, err = machined.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.manager.Close(); err != nil {
			t.Error(err)
		}
	})
	h.serve(&machineapi.Service{Manager: h.manager, Auth: auth})
	return h
}

// serve puts the service on the bus until the test ends.
func (h *busHost) serve(s *machineapi.Service) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	b := s.NewBus(bus.Config{Address: h.address}, h.pool)
	go func() { done <- b.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
	h.await("a connection", func() bool { return b.Conn() != nil })
	var err error
	if h.conn, err = dbus.Connect(h.address); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = h.conn.Close() })
}

func (h *busHost) await(what string, met func() bool) {
	h.t.Helper()
	await.Until(h.t, time.Minute, what, met)
}

func (h *busHost) object(path dbus.ObjectPath) dbus.BusObject {
	return h.conn.Object(machineapi.BusName, path)
}

// call calls the manager.
func (h *busHost) call(method string, args ...any) *dbus.Call {
	return h.object(managerPath).CallWithContext(h.t.Context(), managerIface+"."+method, 0, args...)
}

// get calls the manager and takes the single result.
func get[T any](h *busHost, method string, args ...any) (result T) {
	h.t.Helper()
	if err := h.call(method, args...).Store(&result); err != nil {
		h.t.Errorf("%s %v: %v", method, args, err)
	}
	return result
}

// do makes calls of the manager that must succeed and give nothing.
func (h *busHost) do(method string, args ...any) {
	h.t.Helper()
	if err := h.call(method, args...).Err; err != nil {
		h.t.Errorf("%s %v: %v", method, args, err)
	}
}

// fails checks the name of the error of a call.
func (h *busHost) fails(call *dbus.Call, name string) {
	h.t.Helper()
	if e := (dbus.Error{}); !errors.As(call.Err, &e) || e.Name != name {
		h.t.Errorf("%s %v: %s %v, want %s", call.Method, call.Args, e.Name, call.Err, name)
	}
}

func (h *busHost) properties(path dbus.ObjectPath) (all map[string]any) {
	h.t.Helper()
	if err := h.object(path).Call("org.freedesktop.DBus.Properties.GetAll", 0, "").Store(&all); err != nil {
		h.t.Errorf("properties of %s: %v", path, err)
	}
	return all
}

// signals gives all signals of machined from now on.
func (h *busHost) signals() <-chan *dbus.Signal {
	h.t.Helper()
	if err := h.conn.AddMatchSignal(dbus.WithMatchSender(machineapi.BusName)); err != nil {
		h.t.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 1000)
	h.conn.Signal(signals)
	return signals
}

// next waits for a signal and checks it.
func (h *busHost) next(signals <-chan *dbus.Signal, member, name string, path dbus.ObjectPath) *dbus.Signal {
	h.t.Helper()
	select {
	case s := <-signals:
		if s.Name != managerIface+"."+member || s.Path != managerPath || s.Body[0] != name || s.Body[1] != path {
			h.t.Errorf("signal %+v, want %s of %s", s, member, name)
		}
		return s
	case <-time.After(20 * time.Second):
		h.t.Fatalf("no signal %s", member)
	}
	return nil
}

func (h *busHost) busctl(args ...string) string {
	h.t.Helper()
	return h.busctlAs(0, args...)
}

// busctlAs gives what busctl prints when it is run by a user.
func (h *busHost) busctlAs(uid uint32, args ...string) string {
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

// leader is a process that does what it is told.
type leader struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func newLeader(t *testing.T, uid uint32) *leader {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `while read -r line; do eval "$line"; done`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return &leader{t, cmd, in, bufio.NewReader(out)}
}

func (l *leader) pid() uint32 { return uint32(l.cmd.Process.Pid) }

// run runs a command line and gives the line that it prints.
func (l *leader) run(line string) string {
	l.t.Helper()
	fmt.Fprintln(l.in, "{ "+line+"; } 2>&1")
	text, err := l.out.ReadString('\n')
	if err != nil {
		l.t.Errorf("%s: %v", line, err)
	}
	return strings.TrimSpace(text)
}
