// Command machined keeps the registry of the machines that run on this host, in
// place of systemd-machined.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"

	"golang.org/x/sys/unix"
)

// version is set by the build.
var version = "unknown"

func main() {
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
	listeners, err := listen(ctx)
	if err != nil {
		return err
	}
	host, err := openHost(ctx, log.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.close()) }()
	service := &machineapi.Service{Manager: host.manager}
	systemBus := onBus(service, log, polkit.Local{Group: o.Group})
	server, err := varlinkServer(service, log)
	if err != nil {
		return err
	}
	log.Info("machined is ready", "version", version)
	// The host itself is a machine, so this daemon always has something to do.
	return daemon.Run(ctx, log, daemon.NewIdle(0), append(server.Services(listeners), systemBus.Run)...)
}

// listen returns the sockets of the service manager, or binds both names.
func listen(ctx context.Context) ([]net.Listener, error) {
	listeners, err := daemon.Listeners("varlink")
	if err != nil || len(listeners) > 0 {
		return listeners, err
	}
	for _, path := range []string{machineapi.Socket, machineapi.ImageSocket} {
		l, err := daemon.Listen(ctx, path, 0o666)
		if err != nil {
			for _, open := range listeners {
				err = errors.Join(err, open.Close())
			}
			return nil, bus.AddHolder(ctx, err, bus.SystemAddress(os.Getenv), machineapi.BusName)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func varlinkServer(service *machineapi.Service, log *daemon.Log) (*varlink.Server, error) {
	server := varlink.NewServer(varlink.Info{
		Vendor: "berth", Product: "berth (machined)", Version: version, URL: "https://systemd.io/",
	}, varlink.Options{AcceptFDs: true, Logger: log.Logger})
	if err := service.Varlink(server); err != nil {
		return nil, err
	}
	return server, server.HandleControl(varlink.Control{
		SetLogLevel: log.SetPriority, LogLevel: log.Priority, Environ: os.Environ,
	})
}
