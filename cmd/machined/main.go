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
	"berth/cmd/internal/polkit"
	"berth/images/diskread"
	"berth/images/foreign"
	"berth/machined/apart"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
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
	}
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "machined: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var user bool
	o, done, err := daemon.ParseOptions("machined", version, args, os.Stdout, func(flags *pflag.FlagSet) {
		flags.BoolVar(&user, "user", false, "keep the machines of the user who runs it")
		flags.BoolFunc("system", "keep the machines of the system (default)", func(string) error { user = false; return nil })
	})
	if done || err != nil {
		return err
	}
	p, err := placeOf(user)
	if err != nil {
		return err
	}
	limitProcessors(os.Getenv)
	unix.Umask(0o022)
	ctx, stop := daemon.Context()
	defer stop()
	return serve(ctx, o, p)
}

func serve(ctx context.Context, o daemon.Options, p place) (err error) {
	log := daemon.OpenLog(os.Stderr, "systemd-machined", os.Getenv)
	// First of all: whoever is served already must not be disturbed.
	sockets, err := openSockets(ctx, p)
	if err != nil {
		return bus.AddHolder(ctx, err, p.busAddress, machineapi.BusName)
	}
	host, err := openHost(ctx, p, log.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.close()) }()
	service := &machineapi.Service{Manager: host.manager}
	idle := p.idle(sockets)
	messageBus := onBus(service, log, idle, p, polkit.Local{Group: o.Group})
	services, err := sockets.serve(service, log, idle)
	if err != nil {
		return err
	}
	return daemon.Program{
		Name: "machined", Version: version, Log: log, Idle: idle, Bus: messageBus,
		Services: append(services, keepBusy(host.manager, idle)),
	}.Run(ctx)
}

// idle measures how long there has been nothing to do. The system's daemon always
// has something: the host itself is a machine.
func (p place) idle(s sockets) *daemon.Idle {
	if !p.user {
		return daemon.NewIdle(0)
	}
	return daemon.NewIdle(daemon.IdleTime(s.activated, os.Getenv))
}
