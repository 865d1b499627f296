package main

import (
	"errors"
	"fmt"
	"log/slog"

	"berth/images"
	"berth/machined"
	"berth/machined/runner"
	"berth/machined/units/cgroup2"
)

// host is the registry and what it works on.
type host struct {
	manager *machined.Manager
	units   machined.Units // nil if this host has none
}

// openHost finds out what this host has: cgroups, a program that runs machines.
// Whatever is missing only takes away what needs it.
func openHost(log *slog.Logger) (*host, error) {
	h := &host{}
	config := machined.Config{
		Images: images.NewStore(images.SystemLocations("")), Host: true, Logger: log,
	}
	backend, err := cgroup2.New(cgroup2.Options{Logger: log})
	switch {
	case errors.Is(err, cgroup2.ErrUnavailable):
		log.Warn("machines get no control groups", "error", err)
	case err != nil:
		return nil, err
	default:
		h.units, config.Units = backend, backend
	}
	nspawn, err := runner.FindNspawn()
	if err != nil {
		log.Info("machines cannot be started here", "error", err)
	} else {
		config.Runner = nspawn
	}
	if h.manager, err = machined.New(config); err != nil {
		return nil, errors.Join(fmt.Errorf("open the registry of machines: %w", err), h.closeUnits())
	}
	return h, nil
}

func (h *host) close() error { return errors.Join(h.manager.Close(), h.closeUnits()) }

func (h *host) closeUnits() error {
	if h.units == nil {
		return nil
	}
	return h.units.Close()
}
