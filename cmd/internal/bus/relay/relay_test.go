package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is a method call with a signature, a body and n descriptors.
func call(kind byte, signature, body string, n int) message {
	header := []byte{'l', kind, 0, 1, byte(len(body)), 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0}
	header = append(header, 1, 1, 'o', 0, 1, 0, 0, 0, '/', 0)
	header = append(pad(header), fieldSignature, 1, 'g', 0, byte(len(signature)))
	header = append(append(header, signature...), 0)
	header = append(pad(header), fieldFiles, 1, 'u', 0, byte(n), 0, 0, 0)
	header[12] = byte(len(header) - fixedHeader)
	return message{order: binary.LittleEndian, header: pad(header), body: []byte(body), files: make([]int, n)}
}

const methodCall = 1

func TestHarmless(t *testing.T) {
	for _, tt := range []struct {
		name            string
		kind            byte
		signature, body string
		files           int
		want            bool
	}{
		{"one", methodCall, "h", "\x00\x00\x00\x00", 1, true},
		{"in a variant", methodCall, "v", "\x01h\x00\x00\x00\x00\x00\x00", 1, true},
		{"in structures", methodCall, "a(sh)", "\x0c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00x\x00\x00\x00\x00\x00\x00\x00", 1, true},
		{"twice the same", methodCall, "hh", "\x00\x00\x00\x00\x00\x00\x00\x00", 1, true},
		{"list", methodCall, "ah", "\x04\x00\x00\x00\x00\x00\x00\x00", 1, false},
		{"empty list", methodCall, "ahh", "\x00\x00\x00\x00\x00\x00\x00\x00", 1, false},
		{"dictionary", methodCall, "a{yh}", "\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", 1, false},
		{"list in a variant", methodCall, "v", "\x02ah\x00\x04\x00\x00\x00\x00\x00\x00\x00", 1, false},
		{"not named", methodCall, "u", "\x00\x00\x00\x00", 1, false},
		{"one of two named", methodCall, "h", "\x01\x00\x00\x00", 2, false},
		{"not there", methodCall, "hh", "\x00\x00\x00\x00\x01\x00\x00\x00", 1, false},
		{"signal", typeSignal, "h", "\x00\x00\x00\x00", 1, false},
		{"cut", methodCall, "h", "\x00\x00", 1, false},
		{"too long", methodCall, "h", "\x00\x00\x00\x00\x00", 1, false},
		{"empty structures", methodCall, "a()h", "\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1, false},
	} {
		m := call(tt.kind, tt.signature, tt.body, tt.files)
		if got := m.harmless(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestNeutral(t *testing.T) {
	bad := call(methodCall, "ah", "\x04\x00\x00\x00\x00\x00\x00\x00", 0)
	good, err := bad.neutral()
	if err != nil {
		t.Fatal(err)
	}
	if signature, err := good.signature(); err != nil || signature != "y" || len(good.body) != 1 || len(good.files) != 0 {
		t.Errorf("signature %q, %v, body %q", signature, err, good.body)
	}
	var codes []byte
	if err := good.eachField(func(code byte, _, _ []byte) { codes = append(codes, code) }); err != nil || string(codes) != "\x01\x08" {
		t.Errorf("fields %v, %v", codes, err)
	}
	if len(good.header)%8 != 0 || good.order.Uint32(good.header[8:]) != 7 {
		t.Errorf("header %q", good.header)
	}
}

// Who connects to the relay is taken by the bus for this process.
func TestOthersAreNotLetIn(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, done, err := Open("unix:path=" + socket)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	path, ok := socketOf(at)
	if !ok {
		t.Fatal(at)
	}
	bus, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	stranger := exec.CommandContext(t.Context(), "python3", "-c", `import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("\0" + sys.argv[1])
s.send(b"\0AUTH\r\n")
sys.exit(len(s.recv(1)))`, path[1:])
	if out, err := stranger.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("NOT TESTED: needs python3")
	} else if err != nil && !strings.Contains(string(out), "ConnectionResetError") && !strings.Contains(string(out), "BrokenPipeError") {
		t.Errorf("%v: %s", err, out)
	}
	own, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := own.Write([]byte("\x00AUTH EXTERNAL\r\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := bus.Read(buf); err != nil || string(buf[:n]) != "\x00AUTH EXTERNAL\r\n" {
		t.Errorf("the bus got %q, %v", buf[:n], err)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/run/dbus/system_bus_socket": "/run/dbus/system_bus_socket", "unix:guid=1,abstract=x": "@x",
		"tcp:host=localhost": "", "unix:path=/a;unix:path=/b": "", "unix:tmpdir=/tmp": "",
	} {
		if got, ok := socketOf(address); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", address, got, ok)
		}
	}
	if _, _, err := Open("unix:path=/nonexistent"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Open: %v", err)
	}
}

func FuzzHarmless(f *testing.F) {
	for _, signature := range []string{"h", "ah", "v", "a{sv}", "a(sh)"} {
		m := call(methodCall, signature, "\x00\x00\x00\x00\x00\x00\x00\x00", 1)
		f.Add(m.header, m.body)
	}
	f.Fuzz(func(t *testing.T, header, body []byte) {
		if len(header) < fixedHeader {
			return
		}
		m := message{order: binary.LittleEndian, header: header, body: body}
		fields := int(m.order.Uint32(header[12:]))
		if len(header) != align(fixedHeader+fields, 8) {
			return // it is read in that length
		}
		m.harmless()
		good, err := m.neutral()
		if err != nil {
			return
		}
		if signature, err := good.signature(); err != nil || signature != "y" {
			t.Errorf("signature %q, %v", signature, err)
		}
	})
}
