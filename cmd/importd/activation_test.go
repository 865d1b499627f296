package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"

	"berth/cmd/internal/importapi"
	"berth/fixtures/ownhost"
)

// TestSocketActivation: a daemon that the service manager starts for a client
// serves it on the socket that it was given, tells that it is ready and alive, and
// ends of its own accord, saying so, when there is nothing more to do.
func TestSocketActivation(t *testing.T) {
	b := newBench(t)
	if err := ownhost.Build(t.Context(), b.dir, "importd"); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: b.path("socket")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody was accepted
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close() //nolint:errcheck // the daemon has a copy
	notices := ownhost.Listen(t)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "LISTEN_PID=$$ exec "+b.path("importd"))
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=varlink", "WATCHDOG_USEC=1000000")
	cmd.ExtraFiles = []*os.File{socket}
	client, err := importapi.Dial(t.Context(), b.path("socket")) // before there is a daemon
	if err != nil {
		t.Fatal(err)
	}
	if err := notices.From(cmd).Start(); err != nil {
		t.Fatal(err)
	}
	if got := notices.Next(); got != "READY=1" {
		t.Errorf("first told %q", got)
	}
	list, err := client.ListTransfers(t.Context(), "")
	if err := errors.Join(err, client.Close()); err != nil || len(list) > 0 {
		t.Errorf("transfers %v, %v", list, err)
	}
	alive := 0
	for got := notices.Next(); got != "STOPPING=1"; got = notices.Next() {
		if got != "WATCHDOG=1" {
			t.Errorf("told %q", got)
		}
		alive++
	}
	if err := cmd.Wait(); err != nil || alive == 0 {
		t.Errorf("it told %d times that it is alive, and ended with %v", alive, err)
	}
}
