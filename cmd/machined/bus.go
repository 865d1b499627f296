package main

import (
	"berth/cmd/internal/bus"
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/images"
)

// onBus prepares the service for its message bus. On the system's it asks polkit;
// on a user's there is nobody but that user. A host without a bus is served all the
// same.
func onBus(service *machineapi.Service, log *daemon.Log, idle *daemon.Idle, p place, local polkit.Local) *machineapi.Bus {
	tree := &bus.Tree{}
	tree.Add(bus.LogControlPath, bus.LogControl{
		Priority: log.Priority, SetPriority: log.SetPriority, Target: log.Target(), Identifier: "systemd-machined",
	}.Object())
	b := service.NewBus(bus.Config{
		Address: p.busAddress, Tree: tree, Hold: idle.Hold, Logger: log.Logger,
	}, p.locations.Pool[images.ClassMachine])
	service.Auth = local
	if !p.user {
		service.Auth = polkit.Authority{Conn: b.Conn, Local: local}
	}
	return b
}
