package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"berth/cmd/internal/nsresource"
	"berth/images"
	"berth/images/diskread"
	"berth/images/foreign"
	"berth/machined"
	"berth/machined/outside"
	"berth/machined/runner"
	"berth/machined/units/cgroup2"
	"berth/machined/units/systemd"
)

// host is the registry and what it works on.
type host struct {
	manager *machined.Manager
	units   machined.Units // nil if this host has none
}

// openHost finds out what this host has: a service manager or cgroups, a program
// that runs machines. Whatever is missing only takes away what needs it.
func openHost(ctx context.Context, p place, log *slog.Logger) (_ *host, err error) {
	h := &host{}
	store := images.NewStore(p.locations)
	store.ReadDisks(diskread.Reader{})
	if p.user {
		store.UseForeign(foreign.NewUser(nsresource.Client{}))
	}
	config := machined.Config{
		StateDir: p.states, RunDir: p.runtime, LogDir: p.outputs, Images: store, Host: !p.user, Logger: log,
	}
	if h.units, err = openUnits(ctx, p, log); err != nil {
		return nil, err
	}
	config.Units = h.units
	switch _, ok := h.units.(machined.ImageStarter); {
	case ok && !p.user:
		// The service manager has put this daemon into a sandbox.
		if config.Commands, err = outside.New(h.units); err != nil {
			return nil, errors.Join(err, h.closeUnits())
		}
	case !ok && !p.user:
		nspawn, err := runner.FindNspawn()
		if err != nil {
			log.Info("machines cannot be started here", "error", err)
		} else {
			config.Runner = nspawn
		}
	}
	if h.manager, err = machined.New(config); err != nil {
		return nil, errors.Join(fmt.Errorf("open the registry of machines: %w", err), h.closeUnits())
	}
	return h, nil
}

// openUnits picks what groups processes; nil if this host has nothing. Beside a
// service manager nobody else may make cgroups, and nor may a user.
func openUnits(ctx context.Context, p place, log *slog.Logger) (machined.Units, error) {
	if _, err := os.Lstat(p.booted); err == nil {
		backend, err := systemd.New(ctx, systemd.Options{Address: p.busAddress, Logger: log})
		if err == nil {
			return backend, nil
		}
		if !errors.Is(err, systemd.ErrUnavailable) {
			return nil, err
		}
		log.Warn("the service manager cannot be reached", "error", err)
	}
	if p.user {
		return nil, nil
	}
	backend, err := cgroup2.New(cgroup2.Options{Logger: log})
	if errors.Is(err, cgroup2.ErrUnavailable) {
		log.Warn("machines get no control groups", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return backend, nil
}

func (h *host) close() error { return errors.Join(h.manager.Close(), h.closeUnits()) }

func (h *host) closeUnits() error {
	if h.units == nil {
		return nil
	}
	return h.units.Close()
}
