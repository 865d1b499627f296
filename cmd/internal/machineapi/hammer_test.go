package machineapi_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// registrar is a client as the one who registers machines needs it.
type registrar interface {
	register(ctx context.Context, name string, leader int) error
	list(ctx context.Context) (names []string, err error)
	terminate(ctx context.Context, name string) error
	Close() error
}

type varlinkRegistrar struct{ *varlink.Client }

func (c varlinkRegistrar) register(ctx context.Context, name string, leader int) error {
	_, err := c.Call(ctx, "io.systemd.Machine.Register", map[string]any{"name": name, "class": "container", "leader": leader}, nil)
	return err
}

func (c varlinkRegistrar) list(ctx context.Context) (names []string, err error) {
	for reply, err := range c.CallMore(ctx, "io.systemd.Machine.List", nil) {
		if err != nil {
			return nil, err
		}
		var m struct{ Name string }
		if err := reply.Decode(&m); err != nil {
			return nil, err
		}
		names = append(names, m.Name)
	}
	return names, nil
}

func (c varlinkRegistrar) terminate(ctx context.Context, name string) error {
	_, err := c.Call(ctx, "io.systemd.Machine.Terminate", map[string]any{"name": name}, nil)
	return err
}

type busRegistrar struct{ *dbus.Conn }

func (c busRegistrar) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return c.Object(machineapi.BusName, managerPath).CallWithContext(ctx, managerIface+"."+method, 0, args...)
}

func (c busRegistrar) register(ctx context.Context, name string, leader int) error {
	return c.call(ctx, "RegisterMachine", name, []byte{}, "", "container", uint32(leader), "").Err
}

func (c busRegistrar) list(ctx context.Context) (names []string, err error) {
	var list []struct {
		Name, Class, Service string
		Path                 dbus.ObjectPath
	}
	if err := c.call(ctx, "ListMachines").Store(&list); err != nil {
		return nil, err
	}
	for _, m := range list {
		names = append(names, m.Name)
	}
	return names, nil
}

func (c busRegistrar) terminate(ctx context.Context, name string) error {
	return c.call(ctx, "TerminateMachine", name).Err
}

// rounds has a client register, list and terminate machines.
func rounds(ctx context.Context, c registrar, prefix string, count int) error {
	for i := range count {
		name := fmt.Sprintf("%s-%d", prefix, i)
		leader := exec.CommandContext(ctx, "/bin/sleep", "infinity")
		if err := leader.Start(); err != nil {
			return err
		}
		if err := c.register(ctx, name, leader.Process.Pid); err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
		names, err := c.list(ctx)
		if err != nil || !slices.Contains(names, name) {
			return fmt.Errorf("%s is not among %d machines: %w", name, len(names), err)
		}
		if err := c.terminate(ctx, name); err != nil {
			return fmt.Errorf("terminate %s: %w", name, err)
		}
		_ = leader.Wait() // killed by a signal, as it should be
	}
	return nil
}

// hammer has many clients at once on a machined that holds nothing in the end.
func hammer(t *testing.T, manager *machined.Manager, state string, connect func() (registrar, error)) {
	t.Helper()
	const clients = 50
	once := func(prefix string, count int) error {
		c, err := connect()
		if err != nil {
			return err
		}
		defer c.Close()
		return rounds(t.Context(), c, prefix, count)
	}
	if err := once("first", 1); err != nil { // what is opened once stays open
		t.Fatal(err)
	}
	nothingLeft := func() bool {
		files, err := filepath.Glob(filepath.Join(state, "*"))
		return err == nil && len(files) == 0 && len(manager.List()) == 1 // .host
	}
	awaitThat(t, "the end of the first machine", nothingLeft)
	before := openFiles(t)
	errs := make(chan error, clients)
	for i := range clients {
		go func() { errs <- once("client"+strconv.Itoa(i), 3) }()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	awaitThat(t, "the end of all machines", nothingLeft)
	awaitThat(t, "the end of all connections", func() bool { return openFiles(t) <= before })
}

func awaitThat(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestManyVarlinkClients(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	path := h.listen(h.server)
	hammer(t, h.manager, h.state, func() (registrar, error) {
		c, err := varlink.Dial(t.Context(), path)
		return varlinkRegistrar{c}, err
	})
}

func TestManyBusClients(t *testing.T) {
	h := newBusHost(t)
	hammer(t, h.manager, h.state, func() (registrar, error) {
		c, err := dbus.Connect(h.address)
		return busRegistrar{c}, err
	})
}

// encode is a call in the bytes of the wire.
func encode(t *testing.T, serial uint32, destination, path, iface, member string, args ...any) []byte {
	t.Helper()
	m := dbus.Message{Type: dbus.TypeMethodCall, Body: args, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(destination), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath(path)),
		dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
	}}
	if len(args) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(args...))
	}
	var b strings.Builder
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	wire := []byte(b.String())
	binary.LittleEndian.PutUint32(wire[8:], serial)
	return wire
}

// A client that asks for much and reads nothing is the bus's problem.
func TestSilentBusClientStopsNobody(t *testing.T) {
	h := newBusHost(t)
	// Their answers are megabytes, which no buffer of a socket holds.
	const questions = 500
	leaders := make([]*exec.Cmd, 100)
	for i := range leaders {
		leaders[i] = exec.CommandContext(t.Context(), "/bin/sleep", "infinity")
		if err := leaders[i].Start(); err != nil {
			t.Fatal(err)
		}
		get[dbus.ObjectPath](h, "RegisterMachine", fmt.Sprintf("m%d", i), []byte{}, "", "container", uint32(leaders[i].Process.Pid), "")
	}
	conn, err := net.Dial("unix", strings.TrimPrefix(h.address, "unix:path="))
	if err != nil {
		t.Fatal(err)
	}
	const driver = "org.freedesktop.DBus"
	text := "\x00AUTH EXTERNAL " + hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid()))) + "\r\n"
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 100)); err != nil { // "OK", the last that is read
		t.Fatal(err)
	}
	flood := append([]byte("BEGIN\r\n"), encode(t, 1, driver, "/org/freedesktop/DBus", driver, "Hello")...)
	flood = append(flood, encode(t, 2, driver, "/org/freedesktop/DBus", driver, "AddMatch", "type='signal'")...)
	for i := range uint32(questions) {
		flood = append(flood, encode(t, i+3, machineapi.BusName, string(managerPath), managerIface, "ListMachines")...)
	}
	if _, err := conn.Write(flood); err != nil {
		t.Fatal(err)
	}
	other, err := dbus.Connect(h.address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := rounds(t.Context(), busRegistrar{other}, "other", 10); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	for _, l := range leaders {
		if err := l.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = l.Wait() // killed
	}
	h.await("the end of all machines", func() bool { return len(h.manager.List()) == 1 })
}
