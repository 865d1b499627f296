package main

import (
	"os"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/images"
)

// onBus prepares the service for the system bus, and has it ask polkit there.
// A host without one is served all the same.
func onBus(service *machineapi.Service, log *daemon.Log, local polkit.Local) *machineapi.Bus {
	tree := &bus.Tree{}
	tree.Add(bus.LogControlPath, bus.LogControl{
		Priority: log.Priority, SetPriority: log.SetPriority, Target: log.Target(), Identifier: "systemd-machined",
	}.Object())
	b := service.NewBus(bus.Config{
		Address: bus.SystemAddress(os.Getenv), Tree: tree, Logger: log.Logger,
	}, images.SystemLocations("").Pool[images.ClassMachine])
	service.Auth = polkit.Authority{Conn: b.Conn, Local: local}
	return b
}
