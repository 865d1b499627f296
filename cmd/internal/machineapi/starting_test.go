package machineapi_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/fixtures/await"
	"berth/machined"
	"berth/machined/runner"
)

// hangingRunner starts what never says that there is a machine.
type hangingRunner struct{}

func (hangingRunner) Name() string { return "hanging" }

func (hangingRunner) Command(runner.Spec) (runner.Command, error) {
	return runner.Command{Argv: []string{"/bin/sleep", "1000"}}, nil
}

// A machine that somebody else is starting has no name for others, but it can be
// ended by who may end machines.
func TestTerminateWhatOthersStart(t *testing.T) {
	h := newVarlinkHost(t, rootOnly, func(c *machined.Config) {
		c.Runner = hangingRunner{}
		run, err := os.MkdirTemp("/tmp", "berth-") // sockets need a short path
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(run); err != nil {
				t.Error(err)
			}
		})
		c.RunDir = run
	})
	if err := os.MkdirAll(filepath.Join(h.pool, "foo"), 0o755); err != nil {
		t.Fatal(err)
	}
	terminate := func() error {
		_, err := h.wire("Terminate", map[string]any{"name": "foo"}, nil)
		return err
	}
	if err := terminate(); !isError(err, "io.systemd.Machine.NoSuchMachine") {
		t.Errorf("before anybody starts it: %v", err)
	}
	started := make(chan error, 1)
	go func() {
		_, err := h.manager.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"})
		started <- err
	}()
	await.Until(t, time.Minute, "the start to be under way", func() bool {
		m, err := h.manager.FindToEnd("foo")
		return err == nil && m.State == machined.StateOpening
	})
	if _, err := h.client.Machine(t.Context(), "foo"); !errors.Is(err, machined.ErrNoSuchMachine) {
		t.Errorf("it is listed already: %v", err)
	}
	if err := terminate(); err != nil {
		t.Error(err)
	}
	if err := <-started; !errors.Is(err, machined.ErrStartFailed) {
		t.Errorf("start of a terminated machine: %v", err)
	}
}
