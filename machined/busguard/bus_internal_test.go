package busguard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"berth/fixtures/privatebus"
)

// rawClient is somebody on a real bus who sends bytes.
type rawClient struct {
	*net.UnixConn
	serial uint32
}

func newRawClient(t *testing.T, address string) *rawClient {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: strings.TrimPrefix(address, "unix:path=")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &rawClient{UnixConn: conn}
	for _, line := range []string{fmt.Sprintf("\x00AUTH EXTERNAL %x\r\n", fmt.Sprint(os.Geteuid())), "NEGOTIATE_UNIX_FD\r\n"} {
		write(t, conn, []byte(line))
		answer := make([]byte, 1)
		for answer[0] != '\n' {
			if _, err := conn.Read(answer); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, conn, []byte("BEGIN\r\n"))
	if _, err := c.call(t, "org.freedesktop.DBus", "org.freedesktop.DBus", "Hello", seed{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// call calls a method and gives the answer. An error says that the bus hung up.
func (c *rawClient) call(t *testing.T, destination, iface, member string, body seed) (*dbus.Message, error) {
	t.Helper()
	c.serial++
	m := &dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(destination), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/o")),
		dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
		dbus.FieldSignature: dbus.MakeVariant(dbus.ParseSignatureMust(body.signature)),
	}}
	if body.fds > 0 {
		m.Headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(body.fds))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	whole := append(b.Bytes(), body.body...)
	binary.LittleEndian.PutUint32(whole[4:], uint32(len(body.body)))
	binary.LittleEndian.PutUint32(whole[8:], c.serial)
	if body.fds > 0 {
		send(t, c.UnixConn, whole, body.fds)
	} else {
		write(t, c, whole)
	}
	for {
		answer, err := dbus.DecodeMessage(c)
		if err != nil || answer.Type != dbus.TypeSignal {
			return answer, err
		}
	}
}

// dictionaries appends that many, one in a variant in the other.
func dictionaries(b []byte, n int) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	at := len(b)
	b = pad(append(b, 0, 0, 0, 0))
	start := len(b)
	b = append(b, 1)
	if n > 1 {
		b = dictionaries(append(b, "\x05a{yv}\x00"...), n-1)
	} else {
		b = append(b, 1, 'y', 0, 7)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-start))
	return b
}

// arrays is the body of so many arrays in each other, of structures.
func arrays(n int) []byte {
	inner := len(pad(make([]byte, 4*n))) - 4*n + 1
	var b []byte
	for k := range n - 1 {
		b = binary.LittleEndian.AppendUint32(b, uint32(4*(n-1-k)+inner))
	}
	return append(pad(append(b, 1, 0, 0, 0)), 7)
}

// Whatever a real bus lets pass, the library behind a guard stays connected, and
// nothing stays open. Nested values are tried on both sides of what the bus and of
// what the library takes.
func TestWhatTheBusLetsPass(t *testing.T) {
	address := privatebus.Start(t)
	g, err := Dial(t.Context(), address, Options{Descriptors: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	seen := make(chan struct{}, 1)
	conn, err := dbus.ConnectUnix(g.Conn(), dbus.WithIncomingInterceptor(func(m *dbus.Message) {
		found := map[dbus.UnixFD]bool{}
		collect(m.Body, found)
		for fd := range found {
			_ = os.NewFile(uintptr(fd), "argument").Close()
		}
		if m.Type == dbus.TypeMethodCall {
			seen <- struct{}{}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // of a test
	all := slices.Clone(seeds)
	for n := 58; n < 68; n++ {
		all = append(all, seed{"v", nested(n), 0, true})
	}
	for n := 18; n < 24; n++ {
		all = append(all, seed{"a{yv}", dictionaries(nil, n), 0, true})
	}
	for n := 28; n <= 32; n++ {
		structure := strings.Repeat("(", n) + "y" + strings.Repeat(")", n)
		all = append(all, seed{strings.Repeat("a", n) + structure, arrays(n), 0, true})
	}
	before := countFDs(t)
	received, refused := 0, 0
	for _, s := range all {
		if !validSignature([]byte(s.signature)) {
			continue
		}
		// The bus disconnects who breaks its rules: each one is sent by somebody else.
		c := newRawClient(t, address)
		answer, err := c.call(t, conn.Names()[0], "a.b", "C", s)
		if err == nil {
			select {
			case <-seen:
				received++
			default:
				refused++
				t.Logf("refused: %q %.20x: %v", s.signature, s.body, answer.Body)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if !conn.Connected() {
			t.Fatalf("%q %.20x: the connection was lost", s.signature, s.body)
		}
	}
	if received < 10 || refused < 5 {
		t.Errorf("%d messages came, and %d were refused", received, refused)
	}
	if after := countFDs(t); after > before {
		t.Errorf("%d descriptors are open, before %d", after, before)
	}
}
