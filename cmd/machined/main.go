// Command machined keeps the registry of the machines that run on this host, in
// place of systemd-machined.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"
	"berth/images/diskread"
	"berth/images/foreign"
	"berth/machined/apart"
	"berth/machined/outside"

	"github.com/spf13/pflag"
)

// version is set by the build.
var version = "unknown"

func main() {
	switch os.Args[0] {
	case diskread.Name:
		os.Exit(diskread.Main())
	case apart.Name:
		os.Exit(apart.Main())
	case foreign.Name:
		os.Exit(foreign.Main())
	case outside.Name:
		os.Exit(outside.Main())
	}
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "machined: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var introspect *string
	program := daemon.Program{Name: "machined", Version: version}
	o, done, err := program.ParseOptions(args, os.Stdout, "keep the machines", func(flags *pflag.FlagSet) {
		flags.Func("bus-introspect", "describe the D-Bus objects at `path`, or list them, and end",
			func(path string) error { introspect = &path; return nil })
	})
	if done || err != nil {
		return err
	}
	if introspect != nil {
		return machineapi.Introspect(os.Stdout, *introspect)
	}
	p, err := placeOf(o.User)
	if err != nil {
		return err
	}
	limitProcessors(os.Getenv)
	ctx, stop := daemon.Begin()
	defer stop()
	return serve(ctx, program, o, p)
}

func serve(ctx context.Context, program daemon.Program, o daemon.Options, p place) (err error) {
	program.OpenLog()
	// First of all: whoever is served already must not be disturbed.
	sockets, err := openSockets(ctx, p)
	if err != nil {
		return bus.AddHolder(ctx, err, p.busAddress, machineapi.BusName)
	}
	host, err := openHost(ctx, p, program.Log.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.close()) }()
	service := &machineapi.Service{Manager: host.manager}
	program.Idle = p.idle(sockets)
	messageBus := onBus(service, program, o, p)
	services, err := sockets.serve(service, program)
	if err != nil {
		return err
	}
	return program.Run(ctx, messageBus, append(services, keepBusy(host.manager, program.Idle))...)
}

// idle measures how long there has been nothing to do. The system's daemon always
// has something: the host itself is a machine.
func (p place) idle(s sockets) *daemon.Idle {
	if !p.user {
		return daemon.NewIdle(0)
	}
	return daemon.NewIdle(daemon.IdleTime(s.activated, os.Getenv))
}
