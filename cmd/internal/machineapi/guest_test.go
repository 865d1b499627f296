package machineapi_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/fixtures/guest/guesttest"
	"berth/machined"
	"berth/machined/runner"

	"github.com/godbus/dbus/v5"
)

// boot starts the minimal guest and registers it. Its owner is its own root, whom
// the caller of a test is not.
func boot(t *testing.T, m *machined.Manager, name string, args ...string) {
	t.Helper()
	bootTree(t, m, name, guesttest.Minimal(t), args...)
}

func bootTree(t *testing.T, m *machined.Manager, name, tree string, args ...string) {
	t.Helper()
	nspawn, err := runner.FindNspawn()
	if errors.Is(err, runner.ErrNotInstalled) {
		t.Skip("NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	command, err := nspawn.Command(runner.Spec{Machine: name, Directory: tree})
	if err != nil {
		t.Fatal(err)
	}
	leader := guesttest.Start(t, append(command.Argv, args...), command.Env).Leader
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/"+strconv.Itoa(leader), &st); err != nil {
		t.Fatal(err)
	}
	_, err = m.Register(t.Context(), machined.Caller{UID: st.Uid, PID: os.Getpid()}, machined.Registration{
		Name: name, Class: machined.ClassContainer,
		Leader: machined.ProcessRef{ProcessID: machined.ProcessID{PID: leader}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ofMachine calls a method of a machine object.
func (h *busHost) ofMachine(name, method string, args ...any) *dbus.Call {
	h.t.Helper()
	return h.object(machines+dbus.ObjectPath(name)).Call(machineIface+"."+method, 0, args...)
}

// wire calls a method of io.systemd.Machine.
func (h *varlinkHost) wire(method string, in map[string]any, out any) ([]*os.File, error) {
	return h.raw.Call(h.t.Context(), "io.systemd.Machine."+method, in, out)
}

// wireFails checks the name of the error of a call.
func (h *varlinkHost) wireFails(method string, in map[string]any, name string) {
	h.t.Helper()
	if _, err := h.wire(method, in, nil); !isError(err, name) {
		h.t.Errorf("%s %v: %v, want %s", method, in, err, name)
	}
}

// asked remembers what it is asked last, and says yes.
type asked struct {
	mu    sync.Mutex
	query string // action and details, in order
}

var _ machineapi.Authorizer = (*asked)(nil)

// Check is part of machineapi.Authorizer.
func (a *asked) Check(_ context.Context, _ polkit.Subject, action string, about map[string]string, _ bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.query = strings.TrimPrefix(action, machineapi.BusName+".")
	for _, key := range slices.Sorted(maps.Keys(about)) {
		a.query += " " + key + "=" + about[key]
	}
	return nil
}

// want checks the last question.
func (a *asked) want(t *testing.T, query string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.query != query {
		t.Errorf("asked about %q, want %q", a.query, query)
	}
}
