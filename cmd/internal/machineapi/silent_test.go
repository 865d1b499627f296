package machineapi_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/fixtures/await"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// limit is how long a test waits for what is bound to come.
const limit = time.Minute

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

// questions is how many lists a silent client asks for: their answers are megabytes,
// which no buffer of a socket holds.
const questions = 500

// crowd registers machines, so that lists are long. end ends them.
func crowd(t *testing.T, m *machined.Manager) (end func()) {
	t.Helper()
	leaders := make([]*exec.Cmd, 100)
	for i := range leaders {
		leaders[i] = exec.CommandContext(t.Context(), "/bin/sleep", "infinity")
		if err := leaders[i].Start(); err != nil {
			t.Fatal(err)
		}
		r := machined.Registration{Name: fmt.Sprintf("m%d", i), Class: machined.ClassContainer}
		r.Leader.PID = leaders[i].Process.Pid
		if _, err := m.Register(t.Context(), machined.Caller{}, r); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, l := range leaders {
			if err := l.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = l.Wait() // killed
		}
		await.Until(t, limit, "the end of all machines", func() bool { return len(m.List()) == 1 })
	}
}

// served makes rounds as another client.
func served(t *testing.T, c registrar) {
	t.Helper()
	defer c.Close()
	for i := range 10 {
		if err := round(t.Context(), c, fmt.Sprintf("other-%d", i)); err != nil {
			t.Error(err)
		}
	}
}

// A client that asks for much and reads nothing is the bus's problem.
func TestSilentBusClientStopsNobody(t *testing.T) {
	h := newBusHost(t)
	end := crowd(t, h.manager)
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
	served(t, busRegistrar{other})
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	end()
}

// Over Varlink it waits for itself alone.
func TestSilentVarlinkClientStopsNobody(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	path := h.listen(h.server)
	end := crowd(t, h.manager)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		// The daemon reads no further than it can answer.
		_, err := io.WriteString(conn, strings.Repeat(`{"method":"io.systemd.Machine.List","more":true}`+"\x00", questions))
		sent <- err
	}()
	other, err := varlink.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	served(t, varlinkRegistrar{other})
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	t.Log("calls of the silent client: ", <-sent) // all may have been read, or not
	end()
}
