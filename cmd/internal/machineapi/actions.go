package machineapi

import (
	"context"

	"berth/cmd/internal/polkit"
	"berth/cmd/internal/varlink"
	"berth/cmd/internal/wire"
	"berth/machined"
)

// Actions that polkit is asked about, as systemd's policy file names them.
const (
	actionOpenPTY         = "org.freedesktop.machine1.open-pty"
	actionHostOpenPTY     = "org.freedesktop.machine1.host-open-pty"
	actionLogin           = "org.freedesktop.machine1.login"
	actionHostLogin       = "org.freedesktop.machine1.host-login"
	actionShell           = "org.freedesktop.machine1.shell"
	actionHostShell       = "org.freedesktop.machine1.host-shell"
	actionManageMachines  = "org.freedesktop.machine1.manage-machines"
	actionInspectMachines = "org.freedesktop.machine1.inspect-machines"
	actionCreateMachine   = "org.freedesktop.machine1.create-machine"
	actionRegisterMachine = "org.freedesktop.machine1.register-machine"
	actionManageImages    = "org.freedesktop.machine1.manage-images"
	actionInspectImages   = "org.freedesktop.machine1.inspect-images"
)

// Authorizer decides whether a caller may do something; nil means yes.
type Authorizer = wire.Authorizer

// details names a machine by both keys: the original uses one over D-Bus and
// the other over Varlink.
func details(machine, verb string) map[string]string {
	return map[string]string{"machine": machine, "name": machine, "verb": verb}
}

func (s *Service) authorize(ctx context.Context, call *varlink.Call, action string, about map[string]string, interactive bool) error {
	return wire.Authorize(ctx, s.Auth, call, action, about, interactive)
}

// asker is an Authorizer that can tell how its answer came about.
type asker interface {
	Ask(ctx context.Context, who polkit.Subject, action string, details map[string]string, interactive bool) (polkit.Result, error)
}

var _ asker = polkit.Authority{}

// authorizeAdministrator is authorize for calls that mean more when an
// administrator has given a password for them.
func (s *Service) authorizeAdministrator(
	ctx context.Context, call *varlink.Call, action string, about map[string]string, interactive bool,
) (administrator bool, err error) {
	a, ok := s.Auth.(asker)
	if !ok {
		return false, s.authorize(ctx, call, action, about, interactive)
	}
	result, err := a.Ask(ctx, wire.Subject(call), action, about, interactive)
	return result.Administrator, wire.Denied(err)
}

// authorizeOwner lets the owner of a machine pass without asking.
func (s *Service) authorizeOwner(ctx context.Context, call *varlink.Call, m machined.Machine, action, verb string, interactive bool) error {
	if m.Class != machined.ClassHost && m.UID == call.Peer().UID {
		return nil
	}
	return s.authorize(ctx, call, action, details(m.Name, verb), interactive)
}

// caller is who a call comes from, for the core.
func caller(call *varlink.Call) machined.Caller {
	peer := call.Peer()
	return machined.Caller{UID: peer.UID, GID: peer.GID, PID: peer.PID, PIDFD: peer.PIDFD}
}
