package main

import (
	"os"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/importapi"
	"berth/images"
)

// place is whose images a daemon serves, and where it is found.
type place struct {
	user       bool
	locations  images.Locations
	socket     string
	socketMode os.FileMode
	busAddress string
}

// placeOf is the place of the system's daemon, or of that of this user.
func placeOf(user bool) (p place, err error) {
	p = place{user: user, locations: images.SystemLocations(""), socketMode: 0o666}
	if user {
		p.socketMode = 0o600
		if p.locations, err = images.UserLocations(); err != nil {
			return p, err
		}
	}
	if p.socket, err = (bus.Target{User: user}).Runtime(importapi.Socket); err != nil {
		return p, err
	}
	p.busAddress, err = bus.Address(user)
	return p, err
}
