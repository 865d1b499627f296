// Package wire holds what the Varlink halves of both daemons' interfaces share:
// how values that may be unknown look on the wire, and how a caller is asked for
// authorization.
package wire

import (
	"context"
	"errors"
	"time"

	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/images"
)

// Authorizer decides whether a caller may do something; nil means yes.
type Authorizer interface {
	Check(ctx context.Context, who polkit.Subject, action string, details map[string]string, interactive bool) error
}

// Authorize asks whether the peer of a call may do something and names the
// refusal as Varlink does.
func Authorize(
	ctx context.Context, auth Authorizer, call *varlink.Call, action string, details map[string]string, interactive bool,
) error {
	return Denied(auth.Check(ctx, Subject(call), action, details, interactive))
}

// Subject is the peer of a call as those who decide about it want to know it.
func Subject(call *varlink.Call) polkit.Subject {
	peer := call.Peer()
	return polkit.Subject{UID: peer.UID, PID: peer.PID, PIDFD: peer.PIDFD}
}

// Denied names a refusal as Varlink does.
func Denied(err error) error {
	switch {
	case errors.Is(err, polkit.ErrInteractive):
		return &varlink.Error{Name: "io.systemd.InteractiveAuthenticationRequired"}
	case errors.Is(err, polkit.ErrDenied):
		return varlink.PermissionDenied()
	}
	return err
}

// Microseconds since the epoch; nil for a time that is not known.
func Microseconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

// Size in bytes; nil for one that is not known.
func Size(bytes uint64) *uint64 {
	if bytes == images.Unknown {
		return nil
	}
	return &bytes
}
