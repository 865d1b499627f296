package main

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/fixtures/privatebus"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// obedient is a leader that says which signals it got; SIGRTMIN+4 is 38 here.
const obedient = `trap 'echo poweroff' 38; trap 'echo reboot' INT; trap 'echo terminate' TERM; echo up
while :; do sleep 0.05; done`

// machined that is reached over the bus only can be told as much as over its socket.
func TestOrdersWithoutASocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root to register a machine")
	}
	run := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run) // there is no socket of machined
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", privatebus.Start(t))
	manager, err := machined.New(machined.Config{
		StateDir: filepath.Join(run, "machines"), RunDir: filepath.Join(run, "run"), LogDir: filepath.Join(run, "log"),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := manager.Close(); err != nil {
			t.Error(err)
		}
	}()
	serveBus(t, manager)
	cmd := exec.Command("/bin/sh", "-c", obedient)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	says := bufio.NewReader(out)
	wantLine(t, says, "up")
	_, err = manager.Register(t.Context(), machined.Caller{}, machined.Registration{
		Name: "foo", Class: machined.ClassContainer, Leader: machined.ProcessRef{ProcessID: machined.ProcessID{PID: cmd.Process.Pid}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"poweroff", "reboot", "terminate"} {
		tool, _ := toolFor(t)
		if err := do(t, tool, "--user", verb, "foo"); err != nil {
			t.Errorf("%s: %v", verb, err)
			continue
		}
		wantLine(t, says, verb)
	}
}

func do(t *testing.T, tool *tool, args ...string) error {
	t.Helper()
	return run(context.WithoutCancel(t.Context()), tool.Console, args)
}

func wantLine(t *testing.T, from *bufio.Reader, want string) {
	t.Helper()
	if line, err := from.ReadString('\n'); strings.TrimSpace(line) != want {
		t.Errorf("the leader says %q, %v, want %q", line, err, want)
	}
}

// serveBus puts a manager on the session's bus.
func serveBus(t *testing.T, manager *machined.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &machineapi.Service{Manager: manager, Auth: polkit.Local{Group: polkit.NoGroup}}
	ready := make(chan struct{})
	var once sync.Once
	b := s.NewBus(bus.Config{Address: os.Getenv("DBUS_SESSION_BUS_ADDRESS"), Connected: func(*dbus.Conn) { once.Do(func() { close(ready) }) }}, "")
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-ready
}
