package bus

import (
	"berth/cmd/internal/bus/relay"

	"github.com/godbus/dbus/v5"
)

// Connect connects to a bus. Messages that the library cannot bear are made
// harmless on their way.
func Connect(address string, options ...dbus.ConnOption) (*dbus.Conn, error) {
	at, opened, err := relay.Open(address)
	if err != nil {
		return nil, err
	}
	defer opened()
	return dbus.Connect(at, options...)
}
