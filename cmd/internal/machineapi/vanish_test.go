package machineapi_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/fixtures/await"
	"berth/machined"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// killer says yes to everything, when the leader has ended.
type killer struct {
	pid     atomic.Int32
	managed atomic.Pointer[machined.Manager] // if set, has noticed it by then
}

var _ machineapi.Authorizer = (*killer)(nil)

// Check is part of machineapi.Authorizer.
func (k *killer) Check(context.Context, polkit.Subject, string, map[string]string, bool) error {
	pid := int(k.pid.Swap(0))
	if pid == 0 {
		return errors.New("asked twice")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	_, _ = syscall.Wait4(pid, nil, 0, nil) // so that its PID is free
	m := k.managed.Load()
	if m != nil && !await.Met(time.Minute, func() bool {
		_, err := m.Find("foo")
		return errors.Is(err, machined.ErrNoSuchMachine)
	}) {
		return errors.New("nobody notices the end of the leader")
	}
	return nil
}

// A leader that ends while somebody is asked for a password is not registered,
// whoever has its PID then, and what was to be done to its machine is not done.
func TestLeaderEndsWhileAsked(t *testing.T) {
	k := &killer{}
	b, v := newBusHostOver(t, storeItself, k), newVarlinkHost(t, k)
	next := func() uint32 {
		pid := newLeader(t, owner).pid()
		k.pid.Store(int32(pid))
		return pid
	}
	const esrch = "org.freedesktop.DBus.Error.UnixProcessIdUnknown"
	b.fails(b.call("RegisterMachine", "foo", []byte{}, "", "container", next(), ""), esrch)
	b.fails(b.call("CreateMachine", "foo", []byte{}, "", "container", next(), "", []property{}), esrch)
	pid := next()
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b.fails(b.call("RegisterMachineEx", "foo", properties("Class", "vm", "LeaderPIDFD", dbus.UnixFD(fd))), esrch)
	v.wireFails("Register", map[string]any{"name": "foo", "class": "container", "leader": next()}, varlink.ErrorInvalidParameter)

	for _, m := range []*machined.Manager{b.manager, v.manager} {
		s := &swapper{t: t, manager: m}
		k.managed.Store(m)
		for method, args := range map[string][]any{"TerminateMachine": {}, "KillMachine": {"all", int32(9)}, "OpenMachinePTY": {}} {
			s.register(next())
			if m == b.manager {
				b.fails(b.call(method, append([]any{"foo"}, args...)...), noSuchMachine)
				continue
			}
			wire := map[string]string{"TerminateMachine": "Terminate", "KillMachine": "Kill", "OpenMachinePTY": "Open"}[method]
			in := map[string]map[string]any{"Terminate": {}, "Kill": {"whom": "all", "signal": 9}, "Open": {"mode": "tty"}}[wire]
			in["name"] = "foo"
			v.wireFails(wire, in, "io.systemd.Machine.NoSuchMachine")
		}
		if list := m.List(); len(list) != 1 {
			t.Errorf("listed are %v", list)
		}
	}
}

// What is no pidfd of a process is no leader.
func TestWrongDescriptorsOfLeaders(t *testing.T) {
	h := newBusHost(t)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if call := h.call("RegisterMachineEx", "foo", properties("Class", "vm", "LeaderPIDFD", dbus.UnixFD(file.Fd()))); call.Err == nil {
		t.Error("a device was taken for a pidfd")
	}
	// One that did not come along would be one of the daemon's own.
	h.fails(h.call("RegisterMachineEx", "foo", properties("Class", "vm", "LeaderPIDFD", uint32(0))), bus.ErrorInvalidArgs)
}

// dialAs connects to a Varlink socket as another user.
func (h *varlinkHost) dialAs(uid int) *varlink.Client {
	h.t.Helper()
	path := h.listen(h.server)
	type result struct {
		client *varlink.Client
		err    error
	}
	done := make(chan result)
	go func() {
		// The thread ends with the goroutine: its user is that of nobody else.
		runtime.LockOSThread()
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			done <- result{nil, errno}
			return
		}
		// Files are opened as before, the socket tells of the user.
		_, _, _ = syscall.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0)
		client, err := varlink.Dial(context.WithoutCancel(h.t.Context()), path)
		done <- result{client, err}
	}()
	r := <-done
	if r.err != nil {
		h.t.Fatal(r.err)
	}
	h.t.Cleanup(func() {
		if err := r.client.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return r.client
}

// A user may register what is his own, and nothing else.
func TestLeadersOfOthersOverVarlink(t *testing.T) {
	h := newVarlinkHost(t, allow{"register-machine"})
	client := h.dialAs(owner)
	register := func(l *leader) error {
		_, err := client.Call(t.Context(), "io.systemd.Machine.Register",
			map[string]any{"name": "foo", "class": "container", "leader": l.pid()}, nil)
		return err
	}
	if err := register(newLeader(t, 0)); !isError(err, varlink.ErrorPermissionDenied) {
		t.Errorf("a process of root's: %v", err)
	}
	if err := register(newLeader(t, 1)); !isError(err, varlink.ErrorPermissionDenied) {
		t.Errorf("a process of another user's: %v", err)
	}
	if err := register(newLeader(t, owner)); err != nil {
		t.Errorf("his own: %v", err)
	}
	if m, err := h.manager.Find("foo"); err != nil || m.UID != owner {
		t.Errorf("%+v, %v", m, err)
	}
}
