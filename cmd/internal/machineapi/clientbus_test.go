package machineapi_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/images"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// client returns one that is connected to the bus of the host.
func (h *busHost) client() *machineapi.BusClient {
	h.t.Helper()
	h.t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", h.address)
	c, err := machineapi.DialBus(h.t.Context(), bus.Target{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return c
}

func TestBusClientMachines(t *testing.T) {
	h := newBusHost(t)
	c := h.client()
	l := newLeader(t, 0)
	id := []byte("0123456789abcdef")
	if err := h.call("CreateMachine", "m1", id, "test", "container", l.pid(), "/root", []property{}).Err; err != nil {
		t.Fatal(err)
	}
	list, err := c.Machines(t.Context())
	if err != nil || !slices.ContainsFunc(list, func(m machineapi.Machine) bool {
		return m.Name == "m1" && m.Class == "container" && m.Service == "test"
	}) {
		t.Errorf("machines: %+v, %v", list, err)
	}
	d, err := c.Describe(t.Context(), "m1")
	if err != nil || d.ID != hex.EncodeToString(id) || d.Leader == nil || d.Leader.PID != int(l.pid()) ||
		d.State != "running" || d.Timestamp == nil || d.VSockCID != nil || d.RootDirectory != "/root" {
		t.Errorf("description: %+v, %v", d, err)
	}
	properties, err := c.MachineProperties(t.Context(), "m1")
	if err != nil || len(properties) < 15 || properties[0].Name != "Name" || properties[0].Value != "m1" {
		t.Errorf("properties: %+v, %v", properties, err)
	}
	if _, err := c.Describe(t.Context(), "none"); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("description of nobody: %v", err)
	}
	gone, err := c.Removal(t.Context(), "m1")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(t.Context(), "m1", machined.KillLeader, 9); err != nil {
		t.Error(err)
	}
	<-gone
	if err := c.Terminate(t.Context(), "m1"); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("terminate nobody: %v", err)
	}
	if err := c.Unregister(t.Context(), "m1"); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("forget nobody: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	never, err := c.Removal(ctx, "none")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-never
}

func TestBusClientImages(t *testing.T) {
	h := newBusHost(t)
	c := h.client()
	dir := filepath.Join(h.pool, "i1", "etc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "os-release"), []byte("ID=x\n"), 0o644); err != nil { //nolint:gosec // as such files are
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(c.Clone(t.Context(), "i1", "i2", images.CloneOptions{ReadOnly: true}))
	must(c.SetReadOnly(t.Context(), "i2", false))
	must(c.Rename(t.Context(), "i2", ".i3"))
	i, err := c.Image(t.Context(), ".i3")
	if err != nil || i.Name != ".i3" || !slices.Equal(i.OSRelease, []string{"ID=x"}) || i.Created == nil {
		t.Errorf("image: %+v, %v", i, err)
	}
	list, err := c.Images(t.Context())
	if err != nil || !slices.ContainsFunc(list, func(i machineapi.Image) bool { return i.Name == "i1" && !i.ReadOnly }) {
		t.Errorf("images: %+v, %v", list, err)
	}
	removed, err := c.Clean(t.Context(), false)
	if err != nil || len(removed) != 1 || removed[0].Name != ".i3" {
		t.Errorf("clean: %+v, %v", removed, err)
	}
	if err := c.Clone(t.Context(), "i1", "i1", images.CloneOptions{}); !errors.Is(err, images.ErrExists) {
		t.Errorf("clone over itself: %v", err)
	}
	must(c.Remove(t.Context(), "i1"))
	if err := c.Remove(t.Context(), "i1"); !errors.Is(err, images.ErrNotFound) {
		t.Errorf("remove nothing: %v", err)
	}
	pool, err := c.ManagerProperties(t.Context())
	if err != nil || len(pool) != 3 || pool[0].Value != h.pool {
		t.Errorf("pool: %+v, %v", pool, err)
	}
}

// manager1 is a service manager that starts units as their names say.
type manager1 struct{ conn *dbus.Conn }

func (manager1) Subscribe() *dbus.Error { return nil }

func (m manager1) StartUnit(unit, mode string) (dbus.ObjectPath, *dbus.Error) {
	if unit == "refused.service" || mode != "fail" {
		return "", dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"no such unit"})
	}
	job := "/job/" + dbus.ObjectPath(unit[:1])
	result := "done"
	if unit == "late.service" {
		result = "timeout"
	}
	go func() {
		for _, j := range []dbus.ObjectPath{"/job/other", job} {
			_ = m.conn.Emit("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved", uint32(1), j, unit, result)
		}
	}()
	return job, nil
}

func (manager1) GetUnit(string) (dbus.ObjectPath, *dbus.Error) {
	return "", dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", nil)
}

func TestStartUnits(t *testing.T) {
	h := newBusHost(t)
	c := h.client()
	conn, err := dbus.Connect(h.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.Export(manager1{conn}, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
		t.Fatal(err)
	}
	if err := c.StartUnits(t.Context(), []string{"a.service", "b.service"}); err != nil {
		t.Error(err)
	}
	err = c.StartUnits(t.Context(), []string{"a.service", "late.service"})
	if e, ok := errors.AsType[*machineapi.JobError](err); !ok || e.Unit != "late.service" || e.Result != "timeout" ||
		!strings.HasPrefix(e.Error(), "late.service did not start: the job took too long; see ") {
		t.Errorf("a unit that is late: %v", err)
	}
	err = c.StartUnits(t.Context(), []string{"late.service", "refused.service", "a.service"})
	if _, ok := errors.AsType[*machineapi.JobError](err); !ok || !errors.As(err, new(*machineapi.CallError)) {
		t.Errorf("a unit that is refused: %v", err)
	}
}
