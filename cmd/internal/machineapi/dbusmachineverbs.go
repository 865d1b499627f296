package machineapi

import (
	"context"
	"fmt"
	"math"
	"os"
	"syscall"

	"berth/cmd/internal/bus"
	"berth/images"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

func machinePath(name string) dbus.ObjectPath {
	return busMachines + "/" + dbus.ObjectPath(bus.EscapeLabel(name))
}

func (b *Bus) getMachine(_ context.Context, _ *bus.Call, name string) (dbus.ObjectPath, error) {
	m, err := b.Manager.Find(name)
	return machinePath(m.Name), busError(err)
}

// getMachineByPID takes 0 for the caller.
func (b *Bus) getMachineByPID(ctx context.Context, call *bus.Call, pid uint32) (dbus.ObjectPath, error) {
	if pid > math.MaxInt32 {
		return "", invalidArgs("process %d cannot be", pid)
	}
	if pid == 0 {
		pid = uint32(call.Caller().PID)
	}
	m, err := b.Manager.FindByPID(ctx, int(pid))
	return machinePath(m.Name), busError(err)
}

func (b *Bus) unregisterMachine(ctx context.Context, call *bus.Call, name string) error {
	ctx, err := b.authorizeManage(ctx, call, name, "unregister", b.Manager.Find)
	if err != nil {
		return err
	}
	return busError(b.Manager.Unregister(ctx, name))
}

func (b *Bus) terminateMachine(ctx context.Context, call *bus.Call, name string) error {
	ctx, err := b.authorizeManage(ctx, call, name, "terminate", b.Manager.FindToEnd)
	if err != nil {
		return err
	}
	return busError(b.Manager.Terminate(ctx, name))
}

func (b *Bus) killMachine(ctx context.Context, call *bus.Call, name, whom string, signal int32) error {
	if _, err := b.Manager.Find(name); err != nil {
		return busError(err)
	}
	who, err := machined.ParseKillWhom(whom)
	if err != nil {
		return busError(err)
	}
	if signal < 1 || signal > 64 {
		return invalidArgs("no signal has number %d", signal)
	}
	if ctx, err = b.authorizeManage(ctx, call, name, "kill", b.Manager.Find); err != nil {
		return err
	}
	return busError(b.Manager.Kill(ctx, name, who, syscall.Signal(signal)))
}

// busAddress is an address as it goes over the bus.
type busAddress struct {
	Family int32
	IP     []byte
}

func (b *Bus) machineAddresses(ctx context.Context, _ *bus.Call, name string) ([]busAddress, error) {
	found, err := b.Manager.Addresses(ctx, name)
	if err != nil {
		return nil, busError(err)
	}
	list := []busAddress{}
	for _, a := range found {
		family := int32(syscall.AF_INET)
		if a.IP.Is6() {
			family = syscall.AF_INET6
		}
		list = append(list, busAddress{family, a.IP.AsSlice()})
	}
	return list, nil
}

func (b *Bus) machineSSHInfo(_ context.Context, _ *bus.Call, name string) (address, key string, err error) {
	m, err := b.Manager.Find(name)
	if err != nil {
		return "", "", busError(err)
	}
	if m.SSHAddress == "" || m.SSHPrivateKeyPath == "" {
		return "", "", fmt.Errorf("machine %q has no SSH address or key: %w", name, os.ErrNotExist)
	}
	return m.SSHAddress, m.SSHPrivateKeyPath, nil
}

// machineOSRelease has no exception for owners: what a machine says is read
// with the daemon's rights.
func (b *Bus) machineOSRelease(ctx context.Context, call *bus.Call, name string) (map[string]string, error) {
	m, err := b.Manager.Find(name)
	if err != nil {
		return nil, busError(err)
	}
	if err := b.authorizeBus(ctx, call, actionInspectMachines, details(name, "get_os_release")); err != nil {
		return nil, err
	}
	fields, err := b.Manager.OSRelease(m.Pin(ctx), name)
	return dictionary(fields), busError(err)
}

func (b *Bus) machineUIDShift(ctx context.Context, _ *bus.Call, name string) (uint32, error) {
	shift, err := b.Manager.UIDShift(ctx, name)
	return shift, busError(err)
}

// dictionary is a{ss}. Of a key that is there twice the last counts, as in the
// shell.
func dictionary(fields []images.KeyValue) map[string]string {
	out := map[string]string{}
	for _, f := range fields {
		out[f.Key] = f.Value
	}
	return out
}
