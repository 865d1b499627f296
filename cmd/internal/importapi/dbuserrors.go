package importapi

import (
	"context"
	"errors"
	"fmt"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/polkit"
	"berth/importd"
)

// Names of errors that are importd's own.
const (
	errorNoSuchTransfer = BusName + ".NoSuchTransfer"
	errorInProgress     = BusName + ".TransferInProgress"
)

// authorizeBus asks whether the caller may do something. D-Bus calls pass no
// details to polkit.
func (b *Bus) authorizeBus(ctx context.Context, call *bus.Call, action string) error {
	c := call.Caller()
	who := polkit.Subject{UID: c.UID, PID: c.PID, PIDFD: c.PIDFD, BusName: c.BusName}
	err := b.api.Auth.Check(ctx, who, action, nil, call.Interactive())
	switch {
	case errors.Is(err, polkit.ErrInteractive):
		return &bus.Error{Name: bus.ErrorInteractive, Err: err}
	case errors.Is(err, polkit.ErrDenied):
		return &bus.Error{Name: bus.ErrorAccessDenied, Err: err}
	}
	return err
}

// busError gives an error of the core its name on the bus; error numbers have
// theirs already.
func busError(err error) error {
	switch _, invalid := errors.AsType[*importd.InvalidError](err); {
	case invalid:
		return &bus.Error{Name: bus.ErrorInvalidArgs, Err: err}
	case errors.Is(err, importd.ErrInProgress):
		return &bus.Error{Name: errorInProgress, Err: err}
	}
	return err
}

func invalidArgs(format string, args ...any) error {
	return &bus.Error{Name: bus.ErrorInvalidArgs, Err: fmt.Errorf(format, args...)}
}

// noSuchTransfer has the words that go-systemd's users look for.
func noSuchTransfer(id uint32) error {
	return &bus.Error{Name: errorNoSuchTransfer, Err: fmt.Errorf("%s %d", "No transfer by id", id)}
}
