// Package daemon is what the mains of both daemons share: their options, their log,
// their sockets and servers, readiness, and the signals that end them.
package daemon

import (
	"context"
	"os/signal"
	"syscall"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Begin prepares the process to serve. The context ends with SIGTERM and SIGINT.
func Begin() (context.Context, context.CancelFunc) {
	unix.Umask(0o022)
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// Ready tells the service manager, if there is one, that clients are served.
func Ready() error {
	_, err := sd.SdNotify(false, sd.SdNotifyReady)
	return err
}

// Stopping tells the service manager that the end has begun.
func Stopping() error {
	_, err := sd.SdNotify(false, sd.SdNotifyStopping)
	return err
}
