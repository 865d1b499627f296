package main

import (
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/images"
)

// onBus prepares the service for its message bus. On the system's it asks polkit;
// on a user's there is nobody but that user. A host without a bus is served all the
// same.
func onBus(service *machineapi.Service, program daemon.Program, o daemon.Options, p place) *machineapi.Bus {
	b := service.NewBus(program.BusConfig(p.busAddress), p.locations.Pool[images.ClassMachine])
	service.Auth = o.Local()
	if !p.user {
		service.Auth = polkit.Authority{Conn: b.Conn, Local: o.Local()}
	}
	return b
}
