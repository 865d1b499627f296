// Command serve is the stand-in for systemd-nsresourced, and if it is told a second socket for systemd-mountfsd too, as a
// program, for hosts of tests. It serves until it is ended.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"berth/cmd/internal/nsresource/standin"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(sockets []string) error {
	if len(sockets) < 1 || len(sockets) > 2 {
		return errors.New("usage: serve NAMESPACES [MOUNTS]")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	stop, err := standin.New().Start(ctx, sockets[0], append(sockets, "")[1])
	if err != nil {
		return err
	}
	<-ctx.Done()
	return stop()
}
