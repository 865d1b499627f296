package main

import (
	"os"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/importapi"
	"berth/cmd/internal/polkit"
)

// onBus prepares the service for the system bus, and has it ask polkit there.
// A host without one is served all the same.
func onBus(service *importapi.Service, log *daemon.Log, idle *daemon.Idle, local polkit.Local) *importapi.Bus {
	tree := &bus.Tree{}
	tree.Add(bus.LogControlPath, bus.LogControl{
		Priority: log.Priority, SetPriority: log.SetPriority, Target: log.Target(), Identifier: "systemd-importd",
	}.Object())
	b := service.NewBus(bus.Config{
		Address: bus.SystemAddress(os.Getenv), Tree: tree, Hold: idle.Hold, Logger: log.Logger,
	})
	service.Auth = polkit.Authority{Conn: b.Conn, Local: local}
	return b
}
