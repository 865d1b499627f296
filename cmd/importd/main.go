// Command importd brings images of operating systems into this host's image
// directories and takes them out again, in place of systemd-importd.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"berth/cmd/internal/daemon"
	"berth/cmd/internal/importapi"
	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/importd"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// version is set by the build.
var version = "unknown"

func main() {
	switch filepath.Base(os.Args[0]) {
	case importd.WorkerName:
		os.Exit(importd.WorkerMain())
	case importd.UnpackerName:
		os.Exit(importd.UnpackerMain(os.Args[1:]))
	}
	if err := run(os.Args); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "importd: %v\n", err)
		os.Exit(1)
	}
}

// options are those of the command line.
type options struct {
	socket      string
	group       int
	showVersion bool
}

func run(args []string) error {
	var o options
	flags := pflag.NewFlagSet("importd", pflag.ContinueOnError)
	flags.StringVar(&o.socket, "socket", importapi.Socket, "listen at this `path` unless the service manager passes a socket")
	flags.IntVar(&o.group, "group", polkit.NoGroup, "let members of the group with this `gid` manage images")
	flags.BoolVar(&o.showVersion, "version", false, "show the version and end")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.showVersion {
		fmt.Println("berth importd", version)
		return nil
	}
	unix.Umask(0o022)
	ctx, stop := daemon.Context()
	defer stop()
	return serve(ctx, o)
}

func serve(ctx context.Context, o options) error {
	log := daemon.NewLog(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())))
	listeners, err := daemon.Listeners("varlink")
	if err != nil {
		return err
	}
	if len(listeners) == 0 {
		l, err := daemon.Listen(ctx, o.socket, 0o666)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	locations := images.SystemLocations("")
	manager := importd.New(ctx, importd.Config{
		Locations: locations, UserAgent: "berth-importd/" + version, Logger: log.Logger,
	})
	defer manager.Close()
	service := &importapi.Service{
		Manager: manager, Images: images.NewStore(locations), Auth: polkit.Local{Group: o.group},
	}
	server := varlink.NewServer(varlink.Info{
		Vendor: "berth", Product: "berth (importd)", Version: version, URL: "https://systemd.io/",
	}, varlink.Options{AcceptFDs: true, Logger: log.Logger})
	if err := service.Varlink(server); err != nil {
		return err
	}
	if err := server.HandleControl(varlink.Control{
		SetLogLevel: log.SetPriority, LogLevel: log.Priority, Environ: os.Environ,
	}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error { return server.Serve(ctx, l) })
	}
	if err := daemon.Ready(); err != nil {
		log.Warn("tell the service manager", "error", err)
	}
	log.Info("importd is ready", "version", version)
	err = group.Wait()
	return errors.Join(err, daemon.Stopping())
}
