package machineapi

import (
	"context"
	"encoding/hex"
	"errors"
	"path"

	"berth/cmd/internal/varlink"
	"berth/machined"
)

// registration are the parameters of Register that count.
type registration struct {
	Name              string         `json:"name"`
	ID                string         `json:"id"`
	Service           string         `json:"service"`
	Class             machined.Class `json:"class"`
	Leader            process        `json:"leader"`
	LeaderProcessID   process        `json:"leaderProcessId"`
	RootDirectory     string         `json:"rootDirectory"`
	IfIndices         []int          `json:"ifIndices"`
	VSockCID          *uint32        `json:"vSockCid"`
	SSHAddress        string         `json:"sshAddress"`
	SSHPrivateKeyPath string         `json:"sshPrivateKeyPath"`
	ControlAddress    string         `json:"controlAddress"`
	AllocateUnit      bool           `json:"allocateUnit"`
	Interactive       bool           `json:"allowInteractiveAuthentication"`
}

func (s machines) register(ctx context.Context, call *varlink.Call) error {
	var in registration
	if err := call.Parameters(&in); err != nil {
		return err
	}
	r, err := in.core(s.bootID)
	if err != nil {
		return err
	}
	who := caller(call)
	if r, err = s.Manager.CheckRegistration(who, r); err != nil {
		return in.fault(err)
	}
	action := actionRegisterMachine
	if in.AllocateUnit {
		action = actionCreateMachine
	}
	about := map[string]string{"name": in.Name, "class": string(in.Class)}
	administrator, err := s.authorizeAdministrator(ctx, call, action, about, in.Interactive)
	if err != nil {
		return err
	}
	who.Administrator = administrator
	_, err = s.Manager.Register(ctx, who, r)
	return in.fault(err)
}

// core translates what differs in form.
func (in registration) core(bootID string) (machined.Registration, error) {
	r := machined.Registration{
		Name: in.Name, Service: in.Service, Class: in.Class, RootDirectory: in.RootDirectory,
		NetworkInterfaces: in.IfIndices, SSHAddress: in.SSHAddress,
		SSHPrivateKeyPath: in.SSHPrivateKeyPath, ControlAddress: in.ControlAddress, AllocateUnit: in.AllocateUnit,
	}
	if in.ID != "" {
		id, err := hex.DecodeString(in.ID)
		if err != nil || len(id) != len(r.ID) {
			return r, varlink.InvalidParameter("id")
		}
		copy(r.ID[:], id)
	}
	if in.VSockCID != nil {
		if r.VSockCID = *in.VSockCID; r.VSockCID == 0 || r.VSockCID == machined.AnyCID {
			return r, varlink.InvalidParameter("vSockCid")
		}
	}
	for name, p := range map[string]string{"sshPrivateKeyPath": in.SSHPrivateKeyPath, "controlAddress": in.ControlAddress} {
		if p != "" && !path.IsAbs(p) {
			return r, varlink.InvalidParameter(name)
		}
	}
	for _, p := range []process{in.Leader, in.LeaderProcessID} {
		switch {
		case !p.given:
			continue
		case p.PID == 0, p.elsewhere(bootID):
			return r, varlink.InvalidParameter(in.leaderParameter())
		case r.Leader.PID != 0 && r.Leader.PID != p.PID,
			r.Leader.PIDFDID != 0 && p.PIDFDID != 0 && r.Leader.PIDFDID != p.PIDFDID:
			return r, varlink.InvalidParameter("leaderProcessId")
		}
		r.Leader.PID = p.PID
		if p.PIDFDID != 0 {
			r.Leader.PIDFDID = p.PIDFDID
		}
	}
	return r, nil
}

func (in registration) leaderParameter() string {
	if in.LeaderProcessID.given {
		return "leaderProcessId"
	}
	return "leader"
}

// fault names the parameter that is not acceptable. A leader that is gone is one.
func (in registration) fault(err error) error {
	names := map[string]string{
		"Class": "class", "Leader": in.leaderParameter(), "Service": "service", "RootDirectory": "rootDirectory",
		"NetworkInterfaces": "ifIndices", "VSockCID": "vSockCid", "SSHAddress": "sshAddress",
		"SSHPrivateKeyPath": "sshPrivateKeyPath", "ControlAddress": "controlAddress",
	}
	if f, ok := errors.AsType[*machined.FieldError](err); ok {
		return varlink.InvalidParameter(names[f.Field])
	}
	if errors.Is(err, machined.ErrNoSuchProcess) && (in.Leader.given || in.LeaderProcessID.given) {
		return varlink.InvalidParameter(in.leaderParameter())
	}
	return wireError(err)
}
