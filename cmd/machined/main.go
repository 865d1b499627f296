// Command machined keeps the registry of the machines that run on this host, in
// place of systemd-machined.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/images/diskread"

	"golang.org/x/sys/unix"
)

// version is set by the build.
var version = "unknown"

func main() {
	if filepath.Base(os.Args[0]) == diskread.Name {
		os.Exit(diskread.Main(os.Args[1:]))
	}
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "machined: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o, done, err := daemon.ParseOptions("machined", version, args, os.Stdout)
	if done || err != nil {
		return err
	}
	unix.Umask(0o022)
	ctx, stop := daemon.Context()
	defer stop()
	return serve(ctx, o)
}

func serve(ctx context.Context, o daemon.Options) (err error) {
	log := daemon.OpenLog(os.Stderr, "systemd-machined", os.Getenv)
	// First of all: whoever is served already must not be disturbed.
	sockets, err := openSockets(ctx)
	if err != nil {
		return bus.AddHolder(ctx, err, bus.SystemAddress(os.Getenv), machineapi.BusName)
	}
	host, err := openHost(ctx, log.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.close()) }()
	service := &machineapi.Service{Manager: host.manager}
	systemBus := onBus(service, log, polkit.Local{Group: o.Group})
	services, err := sockets.serve(service, log)
	if err != nil {
		return err
	}
	log.Info("machined is ready", "version", version)
	// The host itself is a machine, so this daemon always has something to do.
	return daemon.Run(ctx, log, daemon.NewIdle(0), append(services, systemBus.Run)...)
}
