package bus

import (
	"context"
	"net"

	"berth/machined/busguard"

	"github.com/godbus/dbus/v5"
)

// Connect connects to a bus. What the library cannot read does not get through.
func Connect(address string, options ...dbus.ConnOption) (*dbus.Conn, error) {
	guard, err := busguard.Dial(context.Background(), address, busguard.Options{Descriptors: true})
	if err != nil {
		return nil, err
	}
	return connectThrough(guard, options)
}

// connectOver is Connect over a connection that there is already, which it takes
// over.
func connectOver(socket *net.UnixConn, options ...dbus.ConnOption) (*dbus.Conn, error) {
	guard, err := busguard.New(socket, busguard.Options{Descriptors: true})
	if err != nil {
		return nil, err
	}
	return connectThrough(guard, options)
}

func connectThrough(guard *busguard.Guard, options []dbus.ConnOption) (*dbus.Conn, error) {
	conn, err := dbus.ConnectUnix(guard.Conn(), options...)
	if err != nil {
		guard.Close()
		return nil, err
	}
	// Also where the bus is stuck: the guard does not notice by itself.
	context.AfterFunc(conn.Context(), guard.Close)
	return conn, nil
}
