package bus

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// Request is a call of somebody else's method.
type Request struct {
	Service   string
	Path      dbus.ObjectPath
	Interface string
	Method    string
	Args      []any
	// Interactive lets polkit ask somebody.
	Interactive bool
}

// Send sends the request and waits for the reply, or the end of ctx. Whatever
// went wrong is the Err of the result.
func (r Request) Send(ctx context.Context, conn *dbus.Conn) *dbus.Call {
	msg := &dbus.Message{
		Type: dbus.TypeMethodCall,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(r.Path), dbus.FieldDestination: dbus.MakeVariant(r.Service),
			dbus.FieldInterface: dbus.MakeVariant(r.Interface), dbus.FieldMember: dbus.MakeVariant(r.Method),
		},
		Body: r.Args,
	}
	if len(r.Args) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(r.Args...))
	}
	if r.Interactive {
		msg.Flags |= dbus.FlagAllowInteractiveAuthorization
	}
	done := make(chan *dbus.Call, 1)
	conn.SendWithContext(ctx, msg, done) // what it returns comes through the channel as well
	return <-done
}
