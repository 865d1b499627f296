package main

import (
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/importapi"
	"berth/cmd/internal/polkit"
)

// onBus prepares the service for its message bus. On the system's it asks polkit;
// on a user's there is nobody but that user. A host without a bus is served all the
// same.
func onBus(service *importapi.Service, program daemon.Program, o daemon.Options, p place) *importapi.Bus {
	b := service.NewBus(program.BusConfig(p.busAddress))
	service.Auth = o.Local()
	if !p.user {
		service.Auth = polkit.Authority{Conn: b.Conn, Local: o.Local()}
	}
	return b
}
