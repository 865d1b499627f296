package main

import (
	"os"
	"path/filepath"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/images"
)

// place is whose machines a daemon keeps, and where it is found.
type place struct {
	user       bool
	locations  images.Locations
	sockets    []string // of the machines and the images, each for both
	socketMode os.FileMode
	busAddress string
	// booted is there where systemd manages the services of this place, see
	// sd_booted(3).
	booted                   string
	states, runtime, outputs string // directories
}

// placeOf is the place of the system's daemon, or of that of this user.
func placeOf(user bool) (p place, err error) {
	target := bus.Target{User: user}
	p = place{user: user, locations: images.SystemLocations(""), socketMode: 0o666, booted: "/run/systemd/system"}
	if user {
		p.socketMode, p.booted = 0o600, "/run/systemd/private"
		if p.locations, err = images.UserLocations(); err != nil {
			return p, err
		}
	}
	p.sockets = []string{machineapi.Socket, machineapi.ImageSocket}
	p.states, p.runtime = "/run/systemd/machines", "/run/berth"
	for _, path := range []*string{&p.sockets[0], &p.sockets[1], &p.booted, &p.states, &p.runtime} {
		if *path, err = target.Runtime(*path); err != nil {
			return p, err
		}
	}
	p.outputs = filepath.Join(p.runtime, "log")
	p.busAddress, err = bus.Address(user)
	return p, err
}
