package machineapi

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/polkit"
	"berth/images"
	"berth/machined"
)

// busErrors maps what the cores say to the names on the bus.
var busErrors = []struct {
	err  error
	name string
}{
	{machined.ErrNoSuchMachine, BusName + ".NoSuchMachine"},
	{machined.ErrNoMachineForPID, BusName + ".NoMachineForPID"},
	{machined.ErrMachineExists, BusName + ".MachineExists"},
	{machined.ErrNoPrivateNetworking, BusName + ".NoPrivateNetworking"},
	{machined.ErrInvalidName, bus.ErrorInvalidArgs},
	{machined.ErrInvalidArgument, bus.ErrorInvalidArgs},
	{machined.ErrNotSupported, bus.ErrorNotSupported},
	{machined.ErrNotOwner, bus.ErrorAccessDenied},
	{machined.ErrTooManyOperations, bus.ErrorLimitsExceeded},
	{machined.ErrJobFailed, "org.freedesktop.systemd1.JobFailed"},
	{machined.ErrTooManyVariables, bus.ErrorLimitsExceeded},
	{machined.ErrUnsafeMachine, bus.ErrorAccessDenied},
	{machined.ErrNoBus, bus.ErrnoName(syscall.ENOENT)},
	{machined.ErrNoSuchProcess, bus.ErrnoName(syscall.ESRCH)},
	{images.ErrNotFound, BusName + ".NoSuchImage"},
	{images.ErrInvalidName, bus.ErrorInvalidArgs},
	{images.ErrExists, bus.ErrnoName(syscall.EEXIST)},
	{images.ErrReadOnly, bus.ErrnoName(syscall.EROFS)},
	{images.ErrBusy, bus.ErrnoName(syscall.EBUSY)},
	{images.ErrNotSupported, bus.ErrorNotSupported},
	{images.ErrNoQuota, bus.ErrorNotSupported},
}

// busError gives an error its name on the bus. What has no name here is named
// after its error number.
func busError(err error) error {
	if _, ok := errors.AsType[*bus.Error](err); ok || err == nil {
		return err
	}
	for _, e := range busErrors {
		if errors.Is(err, e.err) {
			return &bus.Error{Name: e.name, Err: err}
		}
	}
	return err
}

func invalidArgs(format string, args ...any) error {
	return &bus.Error{Name: bus.ErrorInvalidArgs, Err: fmt.Errorf(format, args...)}
}

// busSubject is who calls, for polkit.
func busSubject(call *bus.Call) polkit.Subject {
	c := call.Caller()
	return polkit.Subject{UID: c.UID, PID: c.PID, PIDFD: c.PIDFD, BusName: c.BusName}
}

// busCaller is who calls, for the core.
func busCaller(call *bus.Call) machined.Caller {
	c := call.Caller()
	caller := machined.Caller{UID: c.UID, PID: c.PID, PIDFD: c.PIDFD}
	if len(c.Groups) > 0 {
		caller.GID = c.Groups[0]
	}
	return caller
}

// authorizeBus asks whether the caller may do something.
func (b *Bus) authorizeBus(ctx context.Context, call *bus.Call, action string, about map[string]string) error {
	return denied(b.Auth.Check(ctx, busSubject(call), action, about, call.Interactive()))
}

// denied names the two ways to say no.
func denied(err error) error {
	switch {
	case errors.Is(err, polkit.ErrInteractive):
		return &bus.Error{Name: bus.ErrorInteractive, Err: err}
	case errors.Is(err, polkit.ErrDenied):
		return &bus.Error{Name: bus.ErrorAccessDenied, Err: err}
	}
	return err
}

// authorizeAsker is authorizeBus for calls that mean more when an administrator
// has given a password for them.
func (b *Bus) authorizeAsker(ctx context.Context, call *bus.Call, action string, about map[string]string) (administrator bool, err error) {
	a, ok := b.Auth.(asker)
	if !ok {
		return false, b.authorizeBus(ctx, call, action, about)
	}
	result, err := a.Ask(ctx, busSubject(call), action, about, call.Interactive())
	return result.Administrator, denied(err)
}

// authorizeManage asks whether the caller may manage a machine, which find finds;
// its owner may. The context it returns is for that machine, see machined.Pin.
func (b *Bus) authorizeManage(
	ctx context.Context, call *bus.Call, name, verb string, find func(name string) (machined.Machine, error),
) (context.Context, error) {
	m, err := find(name)
	if err != nil {
		return ctx, busError(err)
	}
	if m.Class != machined.ClassHost && m.UID == call.Caller().UID {
		return m.Pin(ctx), nil
	}
	return m.Pin(ctx), b.authorizeBus(ctx, call, actionManageMachines, details(name, verb))
}
