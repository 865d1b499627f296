package busguard

import (
	"errors"
	"net"
	"testing"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// refuseFiles makes the kernel refuse all descriptors that are sent to a socket, as
// it does when too many are under way.
func refuseFiles(t *testing.T, conn *net.UnixConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refuse error
	if err := raw.Control(func(fd uintptr) {
		refuse = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
	}); err != nil {
		t.Fatal(err)
	}
	if errors.Is(refuse, unix.ENOPROTOOPT) {
		t.Skip("NOT TESTED: needs SO_PASSRIGHTS, Linux 6.16")
	}
	if refuse != nil {
		t.Fatal(refuse)
	}
}

// isLimit checks that a message says that a call with serial 1 was not delivered.
func isLimit(t *testing.T, m *dbus.Message, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != dbus.TypeError || m.Headers[dbus.FieldErrorName].Value() != errorLimits ||
		m.Headers[dbus.FieldReplySerial].Value() != uint32(1) {
		t.Errorf("answer is %v", m)
	}
}

// Who calls with a descriptor that the kernel does not pass on gets an error, and
// the connection of all others goes on: calls that come in, and our own.
func TestDescriptorsThatTheKernelRefuses(t *testing.T) {
	with, without := little("h", []byte{0, 0, 0, 0}, 1), little("", nil, 0)
	t.Run("from the bus", func(t *testing.T) {
		g, bus := strange(t, Options{Descriptors: true})
		client := begin(t, g, bus)
		refuseFiles(t, client)
		send(t, bus, with, 1)
		answer, err := dbus.DecodeMessage(bus)
		isLimit(t, answer, err)
		write(t, bus, without)
		if m, err := dbus.DecodeMessage(client); err != nil || m.Type != dbus.TypeMethodCall {
			t.Errorf("afterwards: %v, %v", m, err)
		}
	})
	t.Run("to the bus", func(t *testing.T) {
		g, bus := strange(t, Options{})
		client := begin(t, g, bus)
		refuseFiles(t, bus)
		send(t, client, changed(with, 2, flagNoReply), 1) // nobody waits for an answer
		send(t, client, with, 1)
		answer, err := dbus.DecodeMessage(client)
		isLimit(t, answer, err)
		write(t, client, without)
		if m, err := dbus.DecodeMessage(bus); err != nil || m.Type != dbus.TypeMethodCall {
			t.Errorf("afterwards: %v, %v", m, err)
		}
	})
}
