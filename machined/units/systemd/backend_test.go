package systemd

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"berth/fixtures/await"
	"berth/fixtures/privatebus"
	"berth/machined"
	"berth/machined/units/unitstest"
)

func TestConformance(t *testing.T) {
	unitstest.Run(t, func(t *testing.T) machined.Units {
		_, b, _ := standInFor(t)
		return b
	})
	unitstest.RunFollow(t, func(t *testing.T) (machined.Units, unitstest.Join) {
		_, b, _ := standInFor(t)
		return b, b.joinForTest
	})
}

// joinForTest asks the service manager to put a process into a scope.
func (b *Backend) joinForTest(t *testing.T, unit string, p *machined.Process) {
	t.Helper()
	pids := []uint32{uint32(p.PID)}
	_, err := b.look(t.Context(), unit)
	switch {
	case err == nil:
		err = b.call(t.Context(), "AttachProcessesToUnit", unit, "/", pids).Err
	case hasName(err, noSuchUnit):
		err = b.bring(t.Context(), unit, "StartTransientUnit", unit, "fail",
			properties{set("PIDs", pids), set("Delegate", true)}, []auxiliary{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// standInFor is a stand-in on a bus of its own, and a backend.
func standInFor(t *testing.T) (*standIn, *Backend, string) {
	t.Helper()
	address := privatebus.Start(t)
	f := newStandIn(t, address)
	b := open(t, address)
	b.byPID.Store(true) // the library that the stand-in is made with cannot read lists of descriptors
	return f, b, address
}

func open(t *testing.T, address string) *Backend {
	t.Helper()
	b, err := New(t.Context(), Options{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func sleeper(t *testing.T) *machined.Process {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := machined.OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		_ = p.Close()
	})
	return p
}

const testScope = "machine-foo.scope"

func startFoo(t *testing.T, b *Backend, p *machined.Process, given ...machined.Property) {
	t.Helper()
	unit, err := b.StartScope(t.Context(), machined.Scope{Unit: testScope, Description: "Container foo", Leader: p, Properties: given})
	if err != nil || unit.Name != testScope {
		t.Fatalf("StartScope = %+v, %v", unit, err)
	}
}

// watch gives the names of units that end.
func watch(t *testing.T, b *Backend) <-chan string {
	t.Helper()
	names := make(chan string, 10)
	t.Cleanup(b.Watch(func(name string) { names <- name }))
	return names
}

func wantEnd(t *testing.T, names <-chan string) {
	t.Helper()
	select {
	case name := <-names:
		if name != testScope {
			t.Errorf("%s ended", name)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody tells of the end")
	}
}

func killNow(t *testing.T, p *machined.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestScopeProperties(t *testing.T) {
	f, b, _ := standInFor(t)
	names := watch(t, b)
	p := sleeper(t)
	// As the library decodes what comes over the bus.
	structures := dbus.MakeVariantWithSignature([][]any{{"/dev/kvm", "rw"}}, dbus.ParseSignatureMust("a(ss)"))
	startFoo(t, b, p, machined.Property{Name: "DeviceAllow", Value: structures},
		machined.Property{Name: "After", Value: dbus.MakeVariant([]string{"libvirtd.service"})})
	f.mu.Lock()
	props := maps.Clone(f.units[testScope].props)
	f.mu.Unlock()
	for name, want := range map[string]any{
		"Slice": "machine.slice", "Description": "Container foo", "Delegate": true, "CollectMode": "inactive-or-failed",
		"AddRef": true, "TasksMax": uint64(16384), "DeviceAllow": [][]any{{"/dev/kvm", "rw"}}, "After": []string{"libvirtd.service"},
	} {
		if got := props[name].Value(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	killNow(t, p)
	wantEnd(t, names)
	await.Until(t, time.Minute, "the reference to be given back", func() bool { return f.called("UnrefUnit") == 1 })
}

func TestPropertiesThatCannotBe(t *testing.T) {
	for _, value := range []any{
		"text", dbus.MakeVariant(dbus.MakeVariant("x")), dbus.MakeVariant(map[string]dbus.Variant{}),
		dbus.MakeVariantWithSignature(dbus.UnixFDIndex(3), dbus.ParseSignatureMust("h")),
	} {
		if p, err := given([]machined.Property{{Name: "X", Value: value}}); !errors.Is(err, machined.ErrInvalidArgument) {
			t.Errorf("%v: %v, %v", value, p, err)
		}
	}
}

// What the service manager does not know of the caller's properties, the caller
// is told.
func TestUnknownProperty(t *testing.T) {
	f, b, _ := standInFor(t)
	f.mu.Lock()
	f.refuse = "Foo"
	f.mu.Unlock()
	_, err := b.StartScope(t.Context(), machined.Scope{
		Unit: testScope, Leader: sleeper(t), Properties: []machined.Property{{Name: "Foo", Value: dbus.MakeVariant("bar")}},
	})
	if errorName(err) != unknownProp {
		t.Errorf("StartScope: %v", err)
	}
}

func TestJobFails(t *testing.T) {
	f, b, _ := standInFor(t)
	f.decide(map[string]string{testScope: "failed", "systemd-nspawn@foo.service": "dependency"})
	_, err := b.StartScope(t.Context(), machined.Scope{Unit: testScope, Leader: sleeper(t)})
	if !errors.Is(err, machined.ErrJobFailed) || !strings.Contains(err.Error(), "failed") {
		t.Errorf("StartScope: %v", err)
	}
	if err := b.StartImage(t.Context(), "foo"); !errors.Is(err, machined.ErrStartFailed) {
		t.Errorf("StartImage: %v", err)
	}
	// What failed does not stand in the way of the next.
	f.decide(nil)
	p := sleeper(t)
	startFoo(t, b, p)
	killNow(t, p)
}

// The end of a unit while there was no bus is noticed when there is one again.
func TestBusRestarts(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	stop := privatebus.Run(t, socket)
	f := newStandIn(t, "unix:path="+socket)
	b := open(t, "unix:path="+socket)
	b.byPID.Store(true)
	names := watch(t, b)
	p := sleeper(t)
	startFoo(t, b, p)
	stop()
	killNow(t, p)
	t.Cleanup(privatebus.Run(t, socket))
	f.appear("unix:path=" + socket)
	wantEnd(t, names)
	next := sleeper(t)
	startFoo(t, b, next)
	killNow(t, next)
	wantEnd(t, names)
	if n := f.called("Subscribe"); n != 2 {
		t.Errorf("subscribed %d times", n)
	}
}

// So is one while the service manager executed itself anew, and the end of a
// job.
func TestServiceManagerExecutesItself(t *testing.T) {
	f, b, address := standInFor(t)
	names := watch(t, b)
	p := sleeper(t)
	startFoo(t, b, p)
	f.disappear()
	killNow(t, p)
	f.appear(address)
	wantEnd(t, names)

	f.mu.Lock()
	f.silent = true
	f.mu.Unlock()
	before := f.called("StartTransientUnit")
	next := sleeper(t)
	done := make(chan error, 1)
	go func() {
		_, err := b.StartScope(context.WithoutCancel(t.Context()), machined.Scope{Unit: testScope, Leader: next})
		done <- err
	}()
	await.Until(t, time.Minute, "the call", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.jobs.waiting) == 1 && f.called("StartTransientUnit") > before
	})
	f.disappear()
	f.appear(address)
	if err := <-done; err != nil {
		t.Errorf("StartScope: %v", err)
	}
	killNow(t, next)
	wantEnd(t, names)
}

// Anybody on the bus may send us a signal that looks like the service manager's.
func TestSignalsOfOthersDoNotCount(t *testing.T) {
	_, b, address := standInFor(t)
	names := watch(t, b)
	p := sleeper(t)
	startFoo(t, b, p)
	other, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	b.mu.Lock()
	to := b.manager.conn.Names()[0]
	b.mu.Unlock()
	other.Send(&dbus.Message{
		Type: dbus.TypeSignal, Body: []any{testScope, pathOf(testScope)},
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(to), dbus.FieldPath: dbus.MakeVariant(managerPath),
			dbus.FieldInterface: dbus.MakeVariant(managerName), dbus.FieldMember: dbus.MakeVariant("UnitRemoved"),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf("", dbus.ObjectPath("/"))),
		},
	}, nil)
	// What is true comes later, so that the lie was heard by then.
	killNow(t, p)
	wantEnd(t, names)
	select {
	case name := <-names:
		t.Errorf("%s ended twice", name)
	default:
	}
}

func TestNoServiceManager(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, address := range []string{privatebus.Start(t), "unix:path=/nonexistent"} {
		if _, err := New(ctx, Options{Address: address}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("New at %s: %v", address, err)
		}
	}
}
