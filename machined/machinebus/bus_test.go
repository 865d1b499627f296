package machinebus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/fixtures/privatebus"
	"berth/machined/machinebus"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log in to a bus as a machine's root would.
func login(t *testing.T, socket string) *machinebus.Bus {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	b, err := machinebus.New(t.Context(), conn)
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

// manager is a service manager that writes down what it is asked.
type manager struct{ calls chan []any }

// StartUnit is a method of the manager.
func (m manager) StartUnit(name, mode string) (dbus.ObjectPath, *dbus.Error) {
	m.calls <- []any{name, mode}
	return "/job/1", nil
}

type (
	property struct {
		Name  string
		Value dbus.Variant
	}
	auxiliary struct {
		Name       string
		Properties []property
	}
)

// StartTransientUnit is a method of the manager.
func (m manager) StartTransientUnit(name, mode string, properties []property, _ []auxiliary) (dbus.ObjectPath, *dbus.Error) {
	m.calls <- []any{name, mode, properties}
	return "/job/2", nil
}

func serve(t *testing.T, address string) manager {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	m := manager{make(chan []any, 10)}
	if err := conn.Export(m, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestUnits(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	address := privatebus.StartAt(t, socket)
	b := login(t, socket)
	if err := b.StartUnit(t.Context(), "x.service"); !errors.Is(err, machinebus.ErrNoManager) {
		t.Errorf("a bus without systemd: %v", err)
	}
	m := serve(t, address)
	if err := b.StartUnit(t.Context(), "x.service"); err != nil {
		t.Fatal(err)
	}
	if got := <-m.calls; got[0] != "x.service" || got[1] != "replace" {
		t.Errorf("StartUnit %v", got)
	}
	terminal, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close() //nolint:errcheck // of a test
	err = b.StartShell(t.Context(), machinebus.Shell{
		Number: 7, Terminal: terminal, User: "alice", Path: "/bin/sh", Args: []string{"sh", "-l"}, Env: []string{"A=b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := <-m.calls
	if got[0] != "container-shell@7.service" || got[1] != "fail" {
		t.Errorf("StartTransientUnit %v", got[:2])
	}
	want := map[string]string{
		"Description": `"Shell for User alice"`, "SendSIGHUP": "true", "IgnoreSIGPIPE": "false", "KillMode": `"mixed"`,
		"TTYPath": `"/dev/pts/7"`, "TTYReset": "true", "UtmpIdentifier": `"pts/7"`, "UtmpMode": `"user"`, "PAMName": `"login"`,
		"WorkingDirectory": `"-~"`, "User": `"alice"`, "Environment": `["A=b"]`,
	}
	signatures := map[string]string{
		"StandardInputFileDescriptor": "h", "StandardOutputFileDescriptor": "h", "StandardErrorFileDescriptor": "h", "ExecStart": "a(sasb)",
	}
	for _, p := range got[2].([]property) {
		if text, ok := want[p.Name]; ok && p.Value.String() != text {
			t.Errorf("%s is %s, want %s", p.Name, p.Value, text)
		} else if signature := signatures[p.Name]; !ok && p.Value.Signature().String() != signature {
			t.Errorf("%s has type %s, want %q", p.Name, p.Value.Signature(), signature)
		}
		if fd, ok := p.Value.Value().(dbus.UnixFD); ok {
			_ = os.NewFile(uintptr(fd), p.Name).Close()
		}
		delete(want, p.Name)
		delete(signatures, p.Name)
	}
	if len(want)+len(signatures) > 0 {
		t.Errorf("missing: %v %v", want, signatures)
	}
}

// Whatever a machine answers stays out of what others are told.
func TestRefusalIsNotPassedOn(t *testing.T) {
	here, there := socketPair(t)
	go answer(there)
	b, err := machinebus.New(t.Context(), here)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the other end closes first
	err = b.StartUnit(t.Context(), "x.service")
	if !errors.Is(err, machinebus.ErrRefused) || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("a refusal with control characters: %q", err)
	}
	if e, ok := errors.AsType[dbus.Error](err); ok {
		t.Errorf("the machine names an error %q", e.Name)
	}
}

func TestBusThatLeaves(t *testing.T) {
	here, there := socketPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = there.Read(make([]byte, 1))
		cancel()
	}()
	if _, err := machinebus.New(ctx, here); err == nil {
		t.Error("logged in to nothing")
	}
}

func socketPair(t *testing.T) (here, there *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		ends[i] = conn.(*net.UnixConn)
	}
	t.Cleanup(func() { _ = ends[1].Close() })
	return ends[0], ends[1]
}

// answer is a bus that lets everybody in and then only refuses.
func answer(conn *net.UnixConn) {
	in := bufio.NewReader(conn)
	for line := ""; line != "BEGIN\r\n"; {
		var err error
		if line, err = in.ReadString('\n'); err != nil {
			return
		}
		switch {
		case strings.Contains(line, "AUTH EXTERNAL"):
			_, _ = conn.Write([]byte("OK 0123456789abcdef0123456789abcdef\r\n"))
		case strings.Contains(line, "AUTH"):
			_, _ = conn.Write([]byte("REJECTED EXTERNAL\r\n"))
		case strings.Contains(line, "NEGOTIATE"):
			_, _ = conn.Write([]byte("AGREE_UNIX_FD\r\n"))
		}
	}
	for {
		msg, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		reply := &dbus.Message{Type: dbus.TypeMethodReply, Body: []any{":1.7"}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(msg.Serial()),
			dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf("")),
		}}
		if msg.Headers[dbus.FieldMember].Value() != "Hello" {
			reply.Type, reply.Body = dbus.TypeError, []any{"look\x1b[2J\nhere"}
			reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant("org.freedesktop.DBus.Error.AccessDenied")
		}
		var out bytes.Buffer
		if err := reply.EncodeTo(&out, binary.LittleEndian); err != nil {
			return
		}
		// The library leaves the serial of a message that it does not send itself 0.
		binary.LittleEndian.PutUint32(out.Bytes()[8:], 1)
		if _, err := conn.Write(out.Bytes()); err != nil {
			return
		}
	}
}
