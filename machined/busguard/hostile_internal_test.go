package busguard

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"berth/fixtures/await"
)

// strange gives a guard and the end of a bus that does what the test does.
func strange(t *testing.T, options Options) (*Guard, *net.UnixConn) {
	t.Helper()
	bus, far, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close() })
	g, err := New(far, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Conn().Close()
		g.Close()
	})
	return g, bus
}

// begin skips the authentication, and gives the client's end.
func begin(t *testing.T, g *Guard, bus *net.UnixConn) *net.UnixConn {
	t.Helper()
	write(t, g.Conn(), []byte("\x00BEGIN\r\n"))
	if _, err := io.ReadFull(bus, make([]byte, len("\x00BEGIN\r\n"))); err != nil {
		t.Fatal(err)
	}
	return g.Conn()
}

func write(t *testing.T, to io.Writer, b []byte) {
	t.Helper()
	if _, err := to.Write(b); err != nil {
		t.Fatal(err)
	}
}

// send sends so many descriptors with some bytes.
func send(t *testing.T, to *net.UnixConn, b []byte, fds int) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close() //nolint:errcheck // of a test
	rights := syscall.UnixRights(slices.Repeat([]int{int(null.Fd())}, fds)...)
	if _, _, err := to.WriteMsgUnix(b, rights, nil); err != nil {
		t.Fatal(err)
	}
}

func little(signature string, body []byte, fds int) []byte {
	return compose(binary.LittleEndian, signature, body, fds)
}

func changed(b []byte, at int, to ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], to)
	return b
}

// What breaks the frame of the messages ends the connection, and what came before
// arrives.
func TestBrokenFrames(t *testing.T) {
	good := little("u", []byte{1, 2, 3, 4}, 0)
	one := []byte{0, 0, 0, 0}
	before := countFDs(t)
	for what, c := range map[string]struct {
		bytes []byte
		fds   int
	}{
		"byte order":              {changed(good, 0, 'x'), 0},
		"version":                 {changed(good, 3, 2), 0},
		"body too long":           {changed(good, 4, 0xff, 0xff, 0xff, 0xff), 0},
		"header too long":         {changed(good, 12, 0xff, 0xff, 0xff, 0xff), 0},
		"too long together":       {changed(changed(good, 12, 0xf0, 0xff, 0xff, 0x03), 4, 0, 0, 0, 5), 0},
		"header cut off":          {changed(good, 12, 20), 0},
		"field of a wrong type":   {changed(good, 18, 's'), 0},
		"field twice":             {changed(good, 32, 1), 0},
		"field 0":                 {changed(good, 16, 0), 0},
		"invalid signature":       {little("a()", nil, 0), 0},
		"descriptors missing":     {little("h", one, 1), 0},
		"too few descriptors":     {little("hh", one, 2), 1},
		"too many descriptors":    {little("h", one, 1), 2},
		"descriptors for nothing": {good, 3},
		"beyond the kernel":       {little("h", one, 254), 0},
	} {
		t.Run(what, func(t *testing.T) {
			g, bus := strange(t, Options{Descriptors: true})
			client := begin(t, g, bus)
			write(t, bus, good)
			if c.fds > 0 {
				send(t, bus, c.bytes, c.fds)
			} else {
				write(t, bus, c.bytes)
			}
			got, err := io.ReadAll(client)
			if err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Error(err)
			}
			// Of the broken ones, those with a wrong number of descriptors may
			// have come.
			if !bytes.HasPrefix(got, good) || c.fds == 0 && len(got) > len(good) {
				t.Errorf("%d bytes came, want %d", len(got), len(good))
			}
			_ = client.Close()
			_ = bus.Close()
			g.Close()
		})
	}
	if after := countFDs(t); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

// A bus may be a stranger. What it sends reaches the real library.
func TestHostileBus(t *testing.T) {
	g, bus := strange(t, Options{MaxReply: 4096})
	marks := make(chan string, 100)
	conn, err := dbus.DialUnix(g.Conn(), dbus.WithIncomingInterceptor(func(m *dbus.Message) {
		member, _ := m.Headers[dbus.FieldMember].Value().(string)
		marks <- member
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // of a test
	// All answers before they are asked for, and the first message with them.
	write(t, bus, []byte("REJECTED EXTERNAL\r\nOK 1234\r\nAGREE_UNIX_FD\r\n"))
	signal := func(iface, member, signature string, body []byte) []byte {
		var b bytes.Buffer
		m := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/o")), dbus.FieldSender: dbus.MakeVariant("org.freedesktop.DBus"),
			dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
			dbus.FieldSignature: dbus.MakeVariant(dbus.ParseSignatureMust(signature)),
		}}
		if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
			t.Fatal(err)
		}
		whole := append(b.Bytes(), body...)
		binary.LittleEndian.PutUint32(whole[4:], uint32(len(body)))
		return whole
	}
	one := []byte{4, 0, 0, 0, 0, 0, 0, 0}
	send(t, bus, little("ah", one, 1), 1)
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal("0")}); err != nil {
		t.Fatal(err)
	}
	write(t, bus, signal("org.freedesktop.DBus", "NameLost", "", nil))
	write(t, bus, signal("org.freedesktop.DBus", "NameAcquired", "u", []byte{1, 0, 0, 0}))
	send(t, bus, little("h", []byte{0, 0, 0, 0}, 1), 1)
	write(t, bus, signal("a.b", "Long", "s", append(binary.LittleEndian.AppendUint32(nil, 2<<20), make([]byte, 2<<20+1)...)))
	for _, s := range seeds {
		if !s.passes && s.fds == 0 && validSignature([]byte(s.signature)) {
			write(t, bus, little(s.signature, s.body, 0))
		}
	}
	write(t, bus, signal("a.b", "Mark", "s", []byte("\x01\x00\x00\x00x\x00")))
	select {
	case got := <-marks:
		if got != "Mark" {
			t.Errorf("%s got through", got)
		}
	case <-conn.Context().Done():
		t.Error("the connection was lost")
	}
}

// A refused call gets an error, and our own call one in place of a refused reply.
func TestRefusalsAreAnswered(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		g, bus := strange(t, Options{MaxReply: 1000})
		client := begin(t, g, bus)
		bad := compose(order, "ay", []byte{1, 2, 3}, 0)
		write(t, bus, bad)
		msg, err := dbus.DecodeMessage(bus)
		if err != nil {
			t.Fatal(err)
		}
		want := map[dbus.HeaderField]any{
			dbus.FieldErrorName: errorInconsistent, dbus.FieldReplySerial: uint32(1), dbus.FieldDestination: ":1.2",
		}
		for field, value := range want {
			if got := msg.Headers[field].Value(); got != value {
				t.Errorf("header field %d of the error is %v, want %v", field, got, value)
			}
		}
		if text, ok := msg.Body[0].(string); msg.Type != dbus.TypeError || !ok || !strings.HasPrefix(text, "message is refused: ") {
			t.Errorf("answer is %v", msg)
		}
		// No answer to what wants none: the next one is that of the last call.
		write(t, bus, changed(bad, 2, flagNoReply))
		write(t, bus, bad)
		if _, err := dbus.DecodeMessage(bus); err != nil {
			t.Fatal(err)
		}
		write(t, bus, errorMessage("a.B", strings.Repeat("x", 2000), 77, fieldSender, ":1.5"))
		if msg, err = dbus.DecodeMessage(client); err != nil {
			t.Fatal(err)
		}
		if msg.Headers[dbus.FieldErrorName].Value() != errorLimits || msg.Headers[dbus.FieldReplySerial].Value() != uint32(77) ||
			msg.Headers[dbus.FieldSender].Value() != ":1.5" {
			t.Errorf("in place of a reply came %v", msg)
		}
	}
}

// Flags that are not known are to be ignored; the library ignores the message.
func TestUnknownFlags(t *testing.T) {
	g, bus := strange(t, Options{})
	client := begin(t, g, bus)
	write(t, bus, changed(little("", nil, 0), 2, 0xfc))
	msg, err := dbus.DecodeMessage(client)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Flags != dbus.FlagAllowInteractiveAuthorization {
		t.Errorf("flags %#x", msg.Flags)
	}
}

// fillUp writes messages until nobody takes more, and tells how many were begun and
// what is missing of the last one.
func fillUp(t *testing.T, to *net.UnixConn, m []byte) (begun int, rest []byte) {
	t.Helper()
	for begun = 1; begun < 100_000; begun++ {
		if err := to.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := to.Write(m)
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("message %d: %v", begun, err)
		}
		if err := to.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		return begun, m[n:]
	}
	t.Fatalf("%d messages were taken, and none was read", begun)
	return 0, nil
}

// A reader that does not read holds the bus up, as on a plain socket.
func TestBackPressure(t *testing.T) {
	g, bus := strange(t, Options{})
	client := begin(t, g, bus)
	m := little("s", append(binary.LittleEndian.AppendUint32(nil, 10_000), make([]byte, 10_001)...), 0)
	written, rest := fillUp(t, bus, m)
	go func() {
		_, _ = bus.Write(rest)
		_ = bus.CloseWrite()
	}()
	got, err := io.Copy(io.Discard, client)
	if want := int64(written) * int64(len(m)); got != want || err != nil {
		t.Errorf("%d bytes came, want %d: %v", got, want, err)
	}
}

// A bus that takes nothing does not keep anybody.
func TestStuckBus(t *testing.T) {
	g, bus := strange(t, Options{})
	client := begin(t, g, bus)
	fillUp(t, client, little("", nil, 0))
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	g.Close()
	if _, err := io.Copy(io.Discard, bus); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

// What was sent before the end goes out, also if something comes in after it.
func TestLateMessagesLoseNothing(t *testing.T) {
	g, bus := strange(t, Options{})
	client := begin(t, g, bus)
	m := little("", nil, 0)
	begun, _ := fillUp(t, client, m) // more than the relay holds by itself
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, bus, m)
	awaitTaken(t, bus)
	got, err := io.Copy(io.Discard, bus)
	if want := int64(begun-1) * int64(len(m)); got < want || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes went out, want %d: %v", got, want, err)
	}
}

// awaitTaken waits until everything that was written is read.
func awaitTaken(t *testing.T, conn *net.UnixConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "everything to be read", func() bool {
		queued := -1
		controlErr := raw.Control(func(fd uintptr) { queued, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
		if err := errors.Join(err, controlErr); err != nil {
			t.Fatal(err)
		}
		return queued == 0
	})
}

func TestEndlessLine(t *testing.T) {
	g, bus := strange(t, Options{})
	write(t, g.Conn(), []byte("\x00AUTH\r\n"))
	go func() { _, _ = bus.Write(bytes.Repeat([]byte("x"), 10*maxLine)) }()
	if _, err := bufio.NewReader(g.Conn()).ReadString('\n'); err == nil {
		t.Error("it was passed on")
	}
}

func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
