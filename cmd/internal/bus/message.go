package bus

import (
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// message is a reply or a signal that is to be sent. Empty fields are left out.
type message struct {
	kind          dbus.Type
	path          dbus.ObjectPath
	iface, member string
	errorName     string
	replySerial   uint32
	destination   string
	body          []any
}

// field is a header field as it goes over the bus.
type field struct {
	Code  byte
	Value dbus.Variant
}

// replyTo makes the answer to a call, an error reply if err is not nil.
func replyTo(call *dbus.Message, body []any, err error) message {
	m := message{
		kind: dbus.TypeMethodReply, replySerial: call.Serial(), destination: headerString(call, dbus.FieldSender), body: body,
	}
	if err != nil {
		m.kind, m.errorName, m.body = dbus.TypeError, errorName(err), []any{printable(err.Error())}
	}
	return m
}

// instead is the error that takes the place of a reply that cannot be sent.
func (m message) instead(err error) message {
	m.kind, m.errorName = dbus.TypeError, errorName(err)
	m.body = []any{printable("send reply: " + err.Error())}
	return m
}

// printable is a text that is one on the bus too: names of files are any bytes.
func printable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// encode gives the bytes of the message, and the descriptors that go with it.
func (m message) encode(serial uint32) (wire []byte, fds []int, err error) {
	var body encoder
	for _, value := range m.body {
		if err := body.value(value, 0); err != nil {
			return nil, nil, fmt.Errorf("encode message: %w", err)
		}
	}
	header := encoder{buf: make([]byte, 0, 256+len(body.buf))}
	header.buf = append(header.buf, 'l', byte(m.kind), 0, 1)
	header.uint32(uint32(len(body.buf)))
	header.uint32(serial)
	if err := header.value(m.fields(len(body.fds)), 0); err != nil {
		return nil, nil, fmt.Errorf("encode message: %w", err)
	}
	header.align(8)
	if size := len(header.buf) + len(body.buf); size > maxMessage {
		return nil, nil, fmt.Errorf("encode message: it has %d bytes, %d are allowed", size, maxMessage)
	}
	return append(header.buf, body.buf...), body.fds, nil
}

func (m message) fields(fds int) []field {
	var all []field
	add := func(code dbus.HeaderField, value any) { all = append(all, field{byte(code), dbus.MakeVariant(value)}) }
	if m.path != "" {
		add(dbus.FieldPath, m.path)
	}
	if m.iface != "" {
		add(dbus.FieldInterface, m.iface)
	}
	if m.member != "" {
		add(dbus.FieldMember, m.member)
	}
	if m.errorName != "" {
		add(dbus.FieldErrorName, m.errorName)
	}
	if m.replySerial != 0 {
		add(dbus.FieldReplySerial, m.replySerial)
	}
	if m.destination != "" {
		add(dbus.FieldDestination, m.destination)
	}
	if len(m.body) > 0 {
		add(dbus.FieldSignature, bodySignature(m.body))
	}
	if fds > 0 {
		add(dbus.FieldUnixFDs, uint32(fds))
	}
	return all
}
