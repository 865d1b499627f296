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
	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/images/foreign"
	"berth/importd"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
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
	var user bool
	var introspect string
	o, done, err := daemon.ParseOptions("importd", version, args, os.Stdout, func(flags *pflag.FlagSet) {
		flags.BoolVar(&user, "user", false, "serve the images of the user who runs it")
		flags.StringVar(&introspect, "bus-introspect", "", "describe the D-Bus objects at `path`, or list them, and end")
		flags.BoolFunc("system", "serve the images of the system (default)", func(string) error { user = false; return nil })
	})
	if done || err != nil {
		return err
	}
	if introspect != "" {
		return importapi.Introspect(os.Stdout, introspect)
	}
	p, err := placeOf(user)
	if err != nil {
		return err
	}
	unix.Umask(0o022)
	ctx, stop := daemon.Context()
	defer stop()
	return serve(ctx, o, p)
}

func serve(ctx context.Context, o daemon.Options, p place) error {
	log := daemon.OpenLog(os.Stderr, "systemd-importd", os.Getenv)
	listeners, activated, err := listen(ctx, p)
	if err != nil {
		return err
	}
	environment := helper.ReadEnvironment(os.Getenv, func(text string) { log.Warn(text) })
	manager := importd.New(ctx, importd.Config{
		Locations: p.locations, User: p.user, Foreign: nsresource.Client{}, UserAgent: "berth-importd/" + version, Logger: log.Logger,
		NoSync: environment.NoSync, NoSubvolumes: environment.NoSubvolumes,
	})
	defer manager.Close()
	service := &importapi.Service{Manager: manager, Images: images.NewStore(p.locations)}
	idle := daemon.NewIdle(daemon.IdleTime(activated, os.Getenv))
	messageBus := onBus(service, log, idle, p, polkit.Local{Group: o.Group})
	server, err := varlinkServer(service, log, idle)
	if err != nil {
		return err
	}
	return daemon.Program{
		Name: "importd", Version: version, Log: log, Idle: idle, Bus: messageBus,
		Services: append(server.Services(listeners), keepBusy(manager, idle)),
	}.Run(ctx)
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

func varlinkServer(service *importapi.Service, log *daemon.Log, idle *daemon.Idle) (*varlink.Server, error) {
	server := varlink.NewServer(varlink.Info{
		Vendor: "berth", Product: "berth (importd)", Version: version, URL: "https://systemd.io/",
	}, varlink.Options{AcceptFDs: true, Hold: idle.Hold, Logger: log.Logger})
	if err := service.Varlink(server); err != nil {
		return nil, err
	}
	return server, server.HandleControl(varlink.Control{
		SetLogLevel: log.SetPriority, LogLevel: log.Priority, Environ: os.Environ,
	})
}
