// Command importd brings images of operating systems into this host's image
// directories and takes them out again, in place of systemd-importd.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/daemon"
	"berth/cmd/internal/generator"
	"berth/cmd/internal/helper"
	"berth/cmd/internal/importapi"
	"berth/cmd/internal/nsresource"
	"berth/images"
	"berth/images/foreign"
	"berth/importd"

	"github.com/spf13/pflag"
)

// version is set by the build.
var version = "unknown"

func main() {
	switch filepath.Base(os.Args[0]) {
	case importd.WorkerName:
		os.Exit(importd.WorkerMain(nsresource.Client{}))
	case importd.UnpackerName:
		os.Exit(importd.UnpackerMain(os.Args[1:]))
	case foreign.Name:
		os.Exit(foreign.Main())
	}
	switch name := filepath.Base(os.Args[0]); {
	case helper.Is(name):
		os.Exit(helper.Main(name, version, os.Args[1:]))
	case name == generator.Name:
		os.Exit(generator.Main(os.Args[1:]))
	}
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "importd: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var introspect *string
	program := daemon.Program{Name: "importd", Version: version}
	o, done, err := program.ParseOptions(args, os.Stdout, "serve the images", func(flags *pflag.FlagSet) {
		flags.Func("bus-introspect", "describe the D-Bus objects at `path`, or list them, and end",
			func(path string) error { introspect = &path; return nil })
	})
	if done || err != nil {
		return err
	}
	if introspect != nil {
		return importapi.Introspect(os.Stdout, *introspect)
	}
	p, err := placeOf(o.User)
	if err != nil {
		return err
	}
	ctx, stop := daemon.Begin()
	defer stop()
	return serve(ctx, program, o, p)
}

func serve(ctx context.Context, program daemon.Program, o daemon.Options, p place) error {
	program.OpenLog()
	listeners, activated, err := listen(ctx, p)
	if err != nil {
		return err
	}
	program.Idle = daemon.NewIdle(daemon.IdleTime(activated, os.Getenv))
	manager := importd.New(ctx, configOf(program, p))
	defer manager.Close()
	service := &importapi.Service{Manager: manager, Images: images.NewStore(p.locations)}
	messageBus := onBus(service, program, o, p)
	server, err := program.NewMainServer()
	if err != nil {
		return err
	}
	if err := service.Varlink(server); err != nil {
		return err
	}
	return program.Run(ctx, messageBus, append(server.Services(listeners), keepBusy(manager, program.Idle))...)
}

// configOf is what the core has to know; the variables are those of the helpers.
func configOf(program daemon.Program, p place) importd.Config {
	environment := helper.ReadEnvironment(os.Getenv, func(text string) { program.Log.Warn(text) })
	return importd.Config{
		Locations: p.locations, User: p.user, Foreign: nsresource.Client{},
		UserAgent: "berth-importd/" + program.Version, Logger: program.Log.Logger,
		NoSync: environment.NoSync, NoSubvolumes: environment.NoSubvolumes,
	}
}

// listen returns the socket of the service manager, or binds its name.
func listen(ctx context.Context, p place) (listeners []net.Listener, activated bool, err error) {
	listeners, err = daemon.Listeners("varlink")
	if err != nil || len(listeners) > 0 {
		return listeners, true, err
	}
	l, err := daemon.Listen(ctx, p.socket, p.socketMode)
	if err != nil {
		return nil, false, bus.AddHolder(ctx, err, p.busAddress, importapi.BusName)
	}
	return []net.Listener{l}, false, nil
}
