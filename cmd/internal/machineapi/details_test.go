package machineapi_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"berth/cmd/internal/bus"
	"berth/fixtures/await"
	"berth/fixtures/privatebus"
	"berth/images"
	"berth/machined"
	"berth/machined/units/unitstest"

	"github.com/godbus/dbus/v5"
)

// The tests in this file are of what the original does wrong and nothing else
// tests; docs/differences.md tells how it is decided.

func storeItself(s *images.Store) machined.ImageStore { return s }

// The pool is made of images: both transports ask for the right to manage those.
func TestPoolMethodsAskForTheSameRight(t *testing.T) {
	auth := &asked{}
	b, v := newBusHostOver(t, storeItself, auth), newVarlinkHost(t, auth)
	const pool = "io.systemd.MachineImage."
	_ = b.call("SetPoolLimit", uint64(1)) // whether there can be one does not matter
	auth.want(t, "manage-images verb=set_pool_limit")
	_, _ = v.raw.Call(t.Context(), pool+"SetPoolLimit", map[string]any{"limit": 1}, nil)
	auth.want(t, "manage-images verb=set_pool_limit")
	b.do("CleanPool", "hidden")
	auth.want(t, "manage-images mode=hidden verb=clean_pool")
	for _, err := range v.raw.CallMore(t.Context(), pool+"CleanPool", map[string]any{"mode": "hidden"}) {
		if !isError(err, pool+"NoSuchImage") { // there is nothing to clean, which the original tells so
			t.Errorf("nothing to clean: %v", err)
		}
	}
	auth.want(t, "manage-images mode=hidden verb=clean_pool")
}

// The action that is asked about is one that the policy has.
func TestCreateMachineAsksForItsAction(t *testing.T) {
	auth := &asked{}
	h := newBusHostOver(t, storeItself, auth)
	l := newLeader(t, 0)
	p, err := machined.OpenProcess(int(l.pid()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	get[dbus.ObjectPath](h, "CreateMachineEx", "made", properties("Class", "vm", "LeaderPID", l.pid(), "LeaderPIDFDID", p.PIDFDID), []property{})
	auth.want(t, "create-machine class=vm name=made")
}

// The object of the caller's machine hides one that is really called self, which
// can be had by its name.
func TestMachineCalledSelf(t *testing.T) {
	h := newBusHost(t)
	get[dbus.ObjectPath](h, "RegisterMachine", "self", []byte{}, "", "container", newLeader(t, 0).pid(), "")
	h.fails(h.ofMachine("self", "GetUIDShift"), bus.ErrorUnknownObject) // the caller is in no machine
	if shift := get[uint32](h, "GetMachineUIDShift", "self"); shift != 0 {
		t.Errorf("shift %d", shift)
	}
	h.do("UnregisterMachine", "self")
}

// Whoever makes a machine is told how it went, be the leader dead by then.
func TestCreateMachineAlwaysReplies(t *testing.T) {
	h := newBusHost(t)
	for range 20 {
		l := newLeader(t, 0)
		done := h.object(managerPath).Go(managerIface+".CreateMachine", 0, nil,
			"brief", []byte{}, "", "container", l.pid(), "", []property{}).Done
		if err := l.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		select {
		case call := <-done:
			if call.Err != nil {
				h.fails(call, "org.freedesktop.DBus.Error.UnixProcessIdUnknown")
			}
		case <-time.After(time.Minute):
			t.Fatal("no reply")
		}
		await.Until(t, time.Minute, "the name to be free", func() bool {
			_, err := h.manager.Find("brief")
			return errors.Is(err, machined.ErrNoSuchMachine)
		})
	}
}

// One and the same code registers, whatever the transport: a unit that is all the
// machine's keeps it listed, and its end is noticed.
func TestBothTransportsWatchTheUnit(t *testing.T) {
	fake, err := unitstest.NewFake()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := fake.Close(); err != nil {
			t.Error(err)
		}
	}()
	v := newVarlinkHost(t, rootOnly, func(c *machined.Config) { c.Units = fake })
	b := &busHost{t: t, address: privatebus.Start(t), manager: v.manager}
	b.serve(v.service)
	for name, register := range map[string]func(pid uint32) error{
		"varlink": func(pid uint32) error {
			return v.register(map[string]any{"name": "varlink", "class": "container", "leader": pid})
		},
		"bus": func(pid uint32) error {
			return b.call("RegisterMachine", "bus", []byte{}, "", "container", pid, "").Err
		},
	} {
		first, rest := newLeader(t, 0), newLeader(t, 0)
		for _, l := range []*leader{first, rest} {
			p, err := machined.OpenProcess(int(l.pid()))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(fake.Join(name+".service", p), p.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := register(first.pid()); err != nil {
			t.Fatal(err)
		}
		m, err := v.manager.Find(name)
		if err != nil || m.Unit != name+".service" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		if err := first.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		await.Until(t, time.Minute, "the end of the leader to be noticed", func() bool {
			return errors.Is(v.manager.Kill(t.Context(), name, machined.KillLeader, syscall.SIGCONT), machined.ErrNoSuchProcess)
		})
		if _, err := v.manager.Find(name); err != nil {
			t.Errorf("%s: it went with its leader: %v", name, err)
		}
		if err := rest.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		await.Until(t, time.Minute, "the end of the unit to be noticed", func() bool {
			_, err := v.manager.Find(name)
			return errors.Is(err, machined.ErrNoSuchMachine)
		})
	}
}

// A rename that fails leaves the image, and its object, as they were.
func TestFailedRenameKeepsTheImage(t *testing.T) {
	h := newBusHost(t)
	h.addTree("tree")
	h.addTree("taken")
	for range 2 {
		h.fails(h.call("RenameImage", "tree", "taken"), "org.freedesktop.DBus.Error.FileExists")
		h.fails(h.object(imagesPath+"tree").Call(imageIface+".Rename", 0, "taken"), "org.freedesktop.DBus.Error.FileExists")
		if got := h.properties(imagesPath + "tree")["Name"]; got != "tree" {
			t.Errorf("the object is called %v", got)
		}
	}
	if err := h.object(imagesPath+"tree").Call(imageIface+".Rename", 0, "free").Err; err != nil {
		t.Errorf("rename after one that failed: %v", err)
	}
}

// A clone that could not be made is not reported as one that was, over neither
// transport.
func TestFailedCloneIsReported(t *testing.T) {
	b, v := newBusHost(t), newVarlinkHost(t, rootOnly)
	for _, pool := range []string{b.pool, v.pool} {
		vendor := filepath.Join(pool, "../../../usr/lib/machines/tree")
		if err := errors.Join(os.MkdirAll(vendor, 0o755), os.MkdirAll(filepath.Dir(pool), 0o755), os.RemoveAll(pool),
			os.WriteFile(pool, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if call := b.call("CloneImage", "tree", "copy", false); call.Err == nil {
		t.Error("a clone is reported that cannot be")
	}
	_, err := v.raw.Call(t.Context(), "io.systemd.MachineImage.Clone", map[string]any{"name": "tree", "newName": "copy"}, nil)
	if err == nil || isError(err, "io.systemd.MachineImage.NoSuchImage") {
		t.Errorf("over Varlink: %v", err)
	}
}
