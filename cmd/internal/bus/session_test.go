package bus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"berth/cmd/internal/bus"
	"berth/fixtures/await"
	"berth/fixtures/privatebus"
)

// limit is how long a test waits for what is bound to come.
const limit = time.Minute

// unsendable gives what a reply cannot carry.
func unsendable() *bus.Interface {
	return &bus.Interface{Name: iface, Methods: []bus.Method{
		{Name: "OpenClosed", Out: bus.Args("fd h"), Func: func(context.Context, *bus.Call) (*os.File, error) {
			r, w, err := os.Pipe()
			if err != nil {
				return nil, err
			}
			return r, errors.Join(r.Close(), w.Close())
		}},
		{Name: "NoText", Out: bus.Args("s"), Func: func(context.Context, *bus.Call) (string, error) { return "\xff", nil }},
		{Name: "OddError", Func: func(context.Context, *bus.Call) error { return errors.New("file \xff\x00") }},
		{Name: "OddName", Func: func(context.Context, *bus.Call) error { return &bus.Error{Name: "no name"} }},
		{Name: "Fine", Out: bus.Args("s"), Func: func(context.Context, *bus.Call) (string, error) { return "fine", nil }},
	}}
}

// Who waits for a reply that the kernel refuses, or that cannot be encoded, gets an
// error, and nobody else notices.
func TestReplyThatCannotBeSent(t *testing.T) {
	address := privatebus.Start(t)
	tree := new(bus.Tree)
	tree.Add(root, &bus.Object{Interfaces: []*bus.Interface{unsendable()}})
	p := &probe{service: bus.New(bus.Config{Address: address, Name: name, Tree: tree})}
	p.run(t)
	p.awaitConnected(t)
	conn := p.service.Conn()
	o := connect(t, address).Object(name, root)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for method, want := range map[string]struct{ name, text string }{
		"OpenClosed": {"System.Error.EBADF", "sendmsg: bad file descriptor"},
		"NoText":     {bus.ErrorFailed, `send reply: encode message: "\xff" is no text`},
		"OddError":   {bus.ErrorFailed, "file \uFFFD\uFFFD"},
		"OddName":    {bus.ErrorFailed, "no name"},
	} {
		err := o.CallWithContext(ctx, iface+"."+method, 0).Err
		if e := (dbus.Error{}); !errors.As(err, &e) || e.Name != want.name || !strings.HasSuffix(e.Error(), want.text) {
			t.Errorf("%s: %s, %v, want %s, %s", method, errorName(err), err, want.name, want.text)
		}
	}
	var text string
	if err := o.CallWithContext(ctx, iface+".Fine", 0).Store(&text); err != nil || text != "fine" {
		t.Errorf("afterwards: %q, %v", text, err)
	}
	if p.service.Conn() != conn {
		t.Error("the connection was lost")
	}
}

// A reply with a descriptor goes alone, and is in order with what goes in one piece.
func TestDescriptorsBetweenSignals(t *testing.T) {
	address := privatebus.Start(t)
	tree := new(bus.Tree)
	p := &probe{}
	tree.Add(root, &bus.Object{Interfaces: []*bus.Interface{{Name: iface, Methods: []bus.Method{{
		Name: "Open", In: bus.Args("n u"), Out: bus.Args("fd h, path s"),
		Func: func(ctx context.Context, call *bus.Call, n uint32) (*os.File, string, error) {
			if err := p.announce(ctx, call, n); err != nil {
				return nil, "", err
			}
			return open(ctx, call)
		},
	}}}}})
	p.service = bus.New(bus.Config{Address: address, Name: name, Tree: tree})
	p.run(t)
	p.awaitConnected(t)
	c := connect(t, address)
	if err := c.AddMatchSignal(dbus.WithMatchInterface(iface)); err != nil {
		t.Fatal(err)
	}
	const rounds, each = 20, 5
	signals := make(chan *dbus.Signal, rounds*(each+1))
	c.Signal(signals)
	for range rounds {
		call := c.Object(name, root).Call(iface+".Open", 0, uint32(each))
		var fd dbus.UnixFD
		var path string
		if err := call.Store(&fd, &path); err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "received")
		if text, err := io.ReadAll(f); err != nil || string(text) != "hello" {
			t.Errorf("file received: %q, %v", text, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for i := range uint32(each + 1) { // the last comes after the reply
			s := <-signals
			if s.Body[0] != i || (s.Sequence < call.ResponseSequence) != (i < each) {
				t.Fatalf("signal %d: %+v, reply %d", i, s, call.ResponseSequence)
			}
		}
	}
}

// matchRules is how many rules the bus keeps for a connection.
func matchRules(t *testing.T, c *dbus.Conn, who string) uint32 {
	t.Helper()
	var stats map[string]dbus.Variant
	call := c.BusObject().Call("org.freedesktop.DBus.Debug.Stats.GetConnectionStats", 0, who)
	if errorName(call.Err) == bus.ErrorUnknownInterface || errorName(call.Err) == bus.ErrorUnknownMethod {
		t.Skip("NOT TESTED: needs a dbus-daemon with statistics")
	}
	if err := call.Store(&stats); err != nil {
		t.Fatal(err)
	}
	rules, _ := stats["MatchRules"].Value().(uint32)
	return rules
}

// Of callers that leave before they are known nothing stays: no match rule, no
// descriptor.
func TestCallersThatLeaveAtOnce(t *testing.T) {
	p, address, c := start(t)
	service := p.service.Conn().Names()[0]
	before, files := matchRules(t, c, service), openFDs(t)
	for range 50 {
		leaving, err := dbus.Connect(address)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // none of which is waited for
			leaving.Object(name, root).Go(iface+".Whoami", dbus.FlagNoReplyExpected, nil)
		}
		if err := leaving.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Object(name, root).Call(iface+".Whoami", 0).Err; err != nil {
		t.Error(err)
	}
	// Calls of those that left may still be on their way.
	await.Until(t, limit, "the end of all match rules but one", func() bool { return matchRules(t, c, service) == before+1 })
	await.Until(t, limit, "the end of all descriptors but one", func() bool { return openFDs(t) <= files+1 }) // a pidfd
}

// brokenBus lets a client in, calls it, and refuses its first message.
func brokenBus(l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // of a test
	in := bufio.NewReader(conn)
	for begun := false; !begun; {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		answer := "ERROR\r\n"
		switch words := strings.Fields(strings.TrimLeft(line, "\x00")); {
		case words[0] == "BEGIN":
			answer, begun = "", true
		case words[0] == "AUTH" && len(words) == 1:
			answer = "REJECTED EXTERNAL\r\n"
		case words[0] == "AUTH":
			answer = "OK 0123456789abcdef0123456789abcdef\r\n"
		case words[0] == "NEGOTIATE_UNIX_FD":
			answer = "AGREE_UNIX_FD\r\n"
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return err
		}
	}
	hello, err := dbus.DecodeMessage(in)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, m := range []*dbus.Message{
		{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(root), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant("Whoami"),
		}},
		{Type: dbus.TypeError, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldErrorName: dbus.MakeVariant(bus.ErrorLimitsExceeded), dbus.FieldReplySerial: dbus.MakeVariant(hello.Serial()),
		}},
	} {
		var one bytes.Buffer
		if err := m.EncodeTo(&one, binary.LittleEndian); err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(one.Bytes()[8:], 1)
		out.Write(one.Bytes())
	}
	_, err = conn.Write(out.Bytes())
	// Until the client has gone.
	_, _ = in.ReadByte()
	return err
}

// A call that comes before the connection fails is waited for by nobody.
func TestConnectingFailsLate(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // of a test
	p := newProbe("unix:path=" + socket)
	p.run(t)
	for range 2 { // it has given up the first when it comes for the second time
		if err := brokenBus(l); err != nil {
			t.Fatal(err)
		}
	}
	await.Until(t, limit, "the end of what waits for a connection", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !slices.ContainsFunc(strings.Split(string(stacks), "\n\n"), func(s string) bool {
			return strings.Contains(s, "bus.(*session).Call(")
		})
	})
}
