package busguard_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"berth/fixtures/privatebus"
	"berth/machined/busguard"
)

// wireOf is a message as it goes over the bus.
func wireOf(t *testing.T, serial uint32, m *dbus.Message) []byte {
	t.Helper()
	if len(m.Body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(m.Body...))
	}
	var b bytes.Buffer
	if _, err := m.EncodeToWithFDs(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	wire := b.Bytes()
	binary.LittleEndian.PutUint32(wire[8:], serial)
	return wire
}

func signalWith(values ...any) *dbus.Message {
	return &dbus.Message{Type: dbus.TypeSignal, Body: values, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant("Said"),
	}}
}

// What is sent beside the library stays whole, and in the order of each sender.
func TestSendBetweenMessagesOfTheLibrary(t *testing.T) {
	const senders, each = 8, 50
	address := privatebus.Start(t)
	conn := dial(t, address, busguard.Options{}, dbus.WithSerialGenerator(new(busguard.Serials)))
	listener := connect(t, address)
	if err := listener.AddMatchSignal(dbus.WithMatchInterface(iface)); err != nil {
		t.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 2*senders*each)
	listener.Signal(signals)
	filler := strings.Repeat("x", 10_000) // no write of it has to be whole
	var sending sync.WaitGroup
	for sender := range uint32(senders) {
		sending.Go(func() {
			for n := range uint32(each) {
				if err := conn.guard.Send(wireOf(t, busguard.FirstSerial+n, signalWith(sender, n, filler)), nil); err != nil {
					t.Error(err)
				}
			}
		})
		sending.Go(func() {
			for n := range uint32(each) {
				if err := conn.Emit(path, iface+".Said", sender+senders, n, filler); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make([]uint32, 2*senders)
	for range 2 * senders * each {
		s := <-signals
		sender, n := s.Body[0].(uint32), s.Body[1].(uint32)
		if n != next[sender] || s.Body[2] != filler {
			t.Fatalf("sender %d: message %d, want %d", sender, n, next[sender])
		}
		next[sender]++
	}
	sending.Wait()
}

func TestSendDescriptors(t *testing.T) {
	address := privatebus.Start(t)
	conn := dial(t, address, busguard.Options{}, dbus.WithSerialGenerator(new(busguard.Serials)))
	caller := connect(t, address)
	calls := make(chan *dbus.Message, 1)
	conn.Eavesdrop(calls)
	call := caller.Object(conn.Names()[0], path).Go(iface+".Open", 0, make(chan *dbus.Call, 1))
	asked := <-calls
	reply := func(fd int) error {
		m := &dbus.Message{Type: dbus.TypeMethodReply, Body: []any{dbus.UnixFD(fd)}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(asked.Serial()), dbus.FieldDestination: asked.Headers[dbus.FieldSender],
			dbus.FieldUnixFDs: dbus.MakeVariant(uint32(1)),
		}}
		return conn.guard.Send(wireOf(t, busguard.FirstSerial, m), []int{fd})
	}
	// Nobody has this one: nothing is sent, and the connection is as it was.
	if err := reply(1 << 20); !errors.Is(err, busguard.ErrNotSent) {
		t.Fatalf("send a descriptor that is not: %v, want %v", err, busguard.ErrNotSent)
	}
	file := pipeWith(t, "text")
	defer file.Close() //nolint:errcheck // of a test
	if err := reply(int(file.Fd())); err != nil {
		t.Fatal(err)
	}
	var fd dbus.UnixFD
	if err := (<-call.Done).Store(&fd); err != nil {
		t.Fatal(err)
	}
	got := os.NewFile(uintptr(fd), "received")
	defer got.Close() //nolint:errcheck // of a test
	if text, err := io.ReadAll(got); err != nil || string(text) != "text" {
		t.Errorf("received %q, %v", text, err)
	}
}

// A bus answers a reply that is for nobody with an error, which must not be taken
// for the answer to a call of the library.
func TestReplyForNobodyEndsNoCall(t *testing.T) {
	address := privatebus.Start(t)
	conn := dial(t, address, busguard.Options{}, dbus.WithSerialGenerator(new(busguard.Serials)))
	silent := connect(t, address)
	silent.Eavesdrop(make(chan *dbus.Message)) // it answers nothing
	pending := conn.Object(silent.Names()[0], path).Go(iface+".Never", 0, make(chan *dbus.Call, 1))
	for serial := range uint32(20) { // the call has one of these numbers
		m := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)), dbus.FieldDestination: dbus.MakeVariant(":1.999999"),
		}}
		if err := conn.guard.Send(wireOf(t, busguard.FirstSerial|serial, m), nil); err != nil {
			t.Fatal(err)
		}
	}
	// Its answer comes after those of the replies.
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	select {
	case call := <-pending.Done:
		t.Errorf("the call ended with %v", call.Err)
	default:
	}
}
