package main

import (
	"context"
	"errors"
	"net"
	"os"

	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"

	"golang.org/x/sys/unix"
)

// sockets are where this daemon listens, each kind for another server.
type sockets struct {
	machines     []net.Listener
	users, names net.Listener
}

// openSockets takes the sockets of the service manager, or binds both names
// itself; those that name services look for are always bound here.
func openSockets(ctx context.Context) (s sockets, err error) {
	if s.machines, err = daemon.Listeners("varlink"); err != nil {
		return s, err
	}
	if len(s.machines) == 0 {
		for _, path := range []string{machineapi.Socket, machineapi.ImageSocket} {
			l, err := daemon.Listen(ctx, path, 0o666)
			if err != nil {
				return s, err
			}
			s.machines = append(s.machines, l)
		}
	}
	if s.users, err = daemon.Listen(ctx, machineapi.UserSocket, 0o666); err != nil {
		return s, err
	}
	mark(machineapi.UserSocket, machineapi.UserSocketAttributes())
	s.names, err = daemon.Listen(ctx, machineapi.ResolveSocket, 0o666)
	return s, err
}

// mark sets extended attributes. Few kernels take them for sockets, and clients
// do without.
func mark(path string, attributes map[string]string) {
	for name, value := range attributes {
		_ = unix.Lsetxattr(path, name, []byte(value), 0)
	}
}

// serve prepares the servers at the sockets.
func (s sockets) serve(service *machineapi.Service, log *daemon.Log) ([]func(context.Context) error, error) {
	machines := newServer(log, true)
	if err := service.Varlink(machines); err != nil {
		return nil, err
	}
	if err := machines.HandleControl(varlink.Control{
		SetLogLevel: log.SetPriority, LogLevel: log.Priority, Environ: os.Environ,
	}); err != nil {
		return nil, err
	}
	users, names := newServer(log, false), newServer(log, false)
	if err := errors.Join(service.UserDatabase(users), service.ResolveHook(names)); err != nil {
		return nil, err
	}
	services := machines.Services(s.machines)
	services = append(services, users.Services([]net.Listener{s.users})...)
	return append(services, names.Services([]net.Listener{s.names})...), nil
}

func newServer(log *daemon.Log, acceptFDs bool) *varlink.Server {
	return varlink.NewServer(varlink.Info{
		Vendor: "berth", Product: "berth (machined)", Version: version, URL: "https://systemd.io/",
	}, varlink.Options{AcceptFDs: acceptFDs, Logger: log.Logger})
}
