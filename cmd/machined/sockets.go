package main

import (
	"context"
	"errors"
	"net"
	"os"

	"berth/cmd/internal/daemon"
	"berth/cmd/internal/machineapi"

	"golang.org/x/sys/unix"
)

// sockets are where this daemon listens, each kind for another server.
type sockets struct {
	machines  []net.Listener
	activated bool // the service manager made them
	// Those that name services look for; a user's daemon has none.
	users, names []net.Listener
}

// openSockets takes the sockets of the service manager, or binds both names
// itself; those that name services look for are always bound here.
func openSockets(ctx context.Context, p place) (s sockets, err error) {
	if s.machines, err = daemon.Listeners("varlink"); err != nil {
		return s, err
	}
	if s.activated = len(s.machines) > 0; !s.activated {
		if s.machines, err = listen(ctx, p.socketMode, p.sockets...); err != nil {
			return s, err
		}
	}
	if p.user {
		return s, nil
	}
	if s.users, err = listen(ctx, p.socketMode, machineapi.UserSocket); err != nil {
		return s, err
	}
	mark(machineapi.UserSocket, machineapi.UserSocketAttributes())
	s.names, err = listen(ctx, p.socketMode, machineapi.ResolveSocket)
	return s, err
}

func listen(ctx context.Context, mode os.FileMode, paths ...string) (listeners []net.Listener, err error) {
	for _, path := range paths {
		l, err := daemon.Listen(ctx, path, mode)
		if err != nil {
			return listeners, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// mark sets extended attributes. Few kernels take them for sockets, and clients
// do without.
func mark(path string, attributes map[string]string) {
	for name, value := range attributes {
		_ = unix.Lsetxattr(path, name, []byte(value), 0)
	}
}

// serve prepares the servers at the sockets.
func (s sockets) serve(service *machineapi.Service, program daemon.Program) ([]func(context.Context) error, error) {
	machines, err := program.NewMainServer()
	if err != nil {
		return nil, err
	}
	// As with the original, who asks for names does not keep the daemon.
	users, names := program.NewServer(), program.NewServer()
	if err := errors.Join(service.Varlink(machines), service.UserDatabase(users), service.ResolveHook(names)); err != nil {
		return nil, err
	}
	services := append(machines.Services(s.machines), users.Services(s.users)...)
	return append(services, names.Services(s.names)...), nil
}
