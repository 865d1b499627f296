package busguard_test

import (
	"testing"

	"github.com/godbus/dbus/v5"

	"berth/fixtures/privatebus"
	"berth/machined/busguard"
)

// BenchmarkCall is a call and its reply over a bus, with the callee on a plain
// connection and behind a guard.
func BenchmarkCall(b *testing.B) {
	for what, connect := range map[string]func(address string) (*dbus.Conn, error){
		"plain": func(address string) (*dbus.Conn, error) { return dbus.Connect(address) },
		"guarded": func(address string) (*dbus.Conn, error) {
			g, err := busguard.Dial(b.Context(), address, busguard.Options{})
			if err != nil {
				return nil, err
			}
			b.Cleanup(g.Close)
			return dbus.ConnectUnix(g.Conn())
		},
	} {
		b.Run(what, func(b *testing.B) {
			address := privatebus.Start(b)
			callee, err := connect(address)
			if err != nil {
				b.Fatal(err)
			}
			defer callee.Close() //nolint:errcheck // of a benchmark
			caller, err := dbus.Connect(address)
			if err != nil {
				b.Fatal(err)
			}
			defer caller.Close() //nolint:errcheck // of a benchmark
			o := caller.Object(callee.Names()[0], "/o")
			for b.Loop() {
				if err := o.Call("org.freedesktop.DBus.Peer.Ping", 0).Err; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
