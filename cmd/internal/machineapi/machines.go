package machineapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/machined"
)

// machines are the methods of io.systemd.Machine.
type machines struct {
	*Service
	bootID string
}

// process is a pid on its way in: a number, a decimal string or an object.
type process struct {
	ProcessID
	given bool
}

// UnmarshalJSON takes all three forms.
func (p *process) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	p.given = true
	var s string
	if json.Unmarshal(text, &s) == nil {
		pid, err := strconv.Atoi(s)
		p.PID = pid
		return err
	}
	if json.Unmarshal(text, &p.PID) == nil {
		return nil
	}
	return json.Unmarshal(text, &p.ProcessID)
}

// lookup are the parameters by which a machine is named.
type lookup struct {
	Name        string  `json:"name"`
	PID         process `json:"pid"`
	Interactive bool    `json:"allowInteractiveAuthentication"`
}

func noSuchMachine() error { return &varlink.Error{Name: machineName + ".NoSuchMachine"} }

// find returns the machine that a call names. The empty name is none.
func (s *Service) find(ctx context.Context, call *varlink.Call, l lookup) (machined.Machine, error) {
	if l.Name == "" && !l.PID.given {
		return machined.Machine{}, noSuchMachine()
	}
	if l.Name != "" && l.Name != machined.HostName {
		if err := machined.ValidName(l.Name); err != nil {
			return machined.Machine{}, varlink.InvalidParameter("name")
		}
	}
	if !l.PID.given {
		m, err := s.Manager.Find(l.Name)
		return m, wireError(err)
	}
	pid := l.PID.PID
	if pid == 0 {
		pid = call.Peer().PID
	}
	if pid <= 0 {
		return machined.Machine{}, varlink.InvalidParameter("pid")
	}
	m, err := s.Manager.FindByPID(ctx, pid)
	if err != nil {
		return m, wireError(err)
	}
	if l.Name != "" && l.Name != m.Name {
		return machined.Machine{}, noSuchMachine()
	}
	return m, nil
}

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
	VSockCID          uint32         `json:"vSockCid"`
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
	r, err := in.core()
	if err != nil {
		return err
	}
	action := actionRegisterMachine
	if in.AllocateUnit {
		action = actionCreateMachine
	}
	if err := s.Manager.CheckRegistration(caller(call), r); err != nil {
		return wireError(err)
	}
	about := map[string]string{"name": in.Name, "class": string(in.Class)}
	if err := s.authorize(ctx, call, action, about, in.Interactive); err != nil {
		return err
	}
	_, err = s.Manager.Register(ctx, caller(call), r)
	return wireError(err)
}

func (in registration) core() (machined.Registration, error) {
	r := machined.Registration{
		Name: in.Name, Service: in.Service, Class: in.Class, RootDirectory: in.RootDirectory,
		NetworkInterfaces: in.IfIndices, VSockCID: in.VSockCID, SSHAddress: in.SSHAddress,
		SSHPrivateKeyPath: in.SSHPrivateKeyPath, ControlAddress: in.ControlAddress, AllocateUnit: in.AllocateUnit,
	}
	if err := machined.ValidName(in.Name); err != nil {
		return r, varlink.InvalidParameter("name")
	}
	if in.ID != "" {
		id, err := hex.DecodeString(in.ID)
		if err != nil || copy(r.ID[:], id) != len(r.ID) || len(id) != len(r.ID) {
			return r, varlink.InvalidParameter("id")
		}
	}
	for _, p := range []process{in.Leader, in.LeaderProcessID} {
		switch {
		case !p.given:
		case p.PID <= 0:
			return r, varlink.InvalidParameter("leader")
		case r.Leader.PID != 0 && r.Leader.PID != p.PID:
			return r, varlink.InvalidParameter("leaderProcessId")
		default:
			r.Leader.ProcessID = machined.ProcessID{PID: p.PID, PIDFDID: p.PIDFDID}
		}
	}
	return r, nil
}

func (s machines) unregister(ctx context.Context, call *varlink.Call) error {
	return s.change(ctx, call, "unregister", s.Manager.Unregister)
}

func (s machines) terminate(ctx context.Context, call *varlink.Call) error {
	return s.change(ctx, call, "terminate", s.Manager.Terminate)
}

// change does one thing to a machine on behalf of somebody who may manage it.
func (s machines) change(ctx context.Context, call *varlink.Call, verb string, do func(ctx context.Context, name string) error) error {
	var in lookup
	if err := call.Parameters(&in); err != nil {
		return err
	}
	m, err := s.find(ctx, call, in)
	if err != nil {
		return err
	}
	if err := s.authorizeOwner(ctx, call, m, actionManageMachines, verb, in.Interactive); err != nil {
		return err
	}
	return wireError(do(ctx, m.Name))
}

func (s machines) kill(ctx context.Context, call *varlink.Call) error {
	var in struct {
		lookup
		Whom   machined.KillWhom `json:"whom"`
		Signal int               `json:"signal"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if in.Signal <= 0 || in.Signal > 64 {
		return varlink.InvalidParameter("signal")
	}
	if in.Whom == "" {
		in.Whom = machined.KillAll
	}
	m, err := s.find(ctx, call, in.lookup)
	if err != nil {
		return err
	}
	if err := s.authorizeOwner(ctx, call, m, actionManageMachines, "kill", in.Interactive); err != nil {
		return err
	}
	return wireError(s.Manager.Kill(ctx, m.Name, in.Whom, syscall.Signal(in.Signal)))
}

func (s machines) list(ctx context.Context, call *varlink.Call) error {
	var in struct {
		lookup
		Acquire string `json:"acquireMetadata"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	all := s.Manager.List()
	if in.Name != "" || in.PID.given {
		m, err := s.find(ctx, call, in.lookup)
		if err != nil {
			return err
		}
		all = []machined.Machine{m}
	}
	inspect := in.Acquire == "yes" || in.Acquire == "graceful"
	if inspect {
		if err := s.authorize(ctx, call, actionInspectMachines, details(in.Name, "get_os_release"), in.Interactive); err != nil {
			return err
		}
	}
	var replies iter.Seq2[Machine, error] = func(yield func(Machine, error) bool) {
		for _, m := range all {
			w := machineOnWire(m, s.bootID)
			var err error
			if inspect {
				err = s.inspect(ctx, &w, in.Acquire == "graceful")
			}
			if !yield(w, err) || err != nil {
				return
			}
		}
	}
	return varlink.ReplyEach(call, replies, noSuchMachine())
}

// inspect adds what is read inside a machine. With graceful set, what cannot be
// read is left out.
func (s machines) inspect(ctx context.Context, w *Machine, graceful bool) error {
	release, err := s.Manager.OSRelease(ctx, w.Name)
	if err != nil && !graceful {
		return metadataError(err, "NoOSReleaseInformation")
	}
	w.OSRelease = assignments(release)
	addresses, err := s.Manager.Addresses(ctx, w.Name)
	if err != nil && !graceful {
		return metadataError(err, "NoPrivateNetworking")
	}
	for _, a := range addresses {
		w.Addresses = append(w.Addresses, addressOnWire(a))
	}
	shift, err := s.Manager.UIDShift(ctx, w.Name)
	if err != nil && !graceful {
		return metadataError(err, "NoUIDShift")
	}
	if err == nil {
		w.UIDShift = &shift
	}
	return nil
}

// metadataError says which piece is missing where the core only says that one
// is.
func metadataError(err error, name string) error {
	if errors.Is(err, machined.ErrNoSuchMachine) {
		return wireError(err)
	}
	return &varlink.Error{Name: machineName + "." + name}
}

func addressOnWire(a machined.Address) Address {
	w := Address{Ifindex: a.Interface, Family: syscall.AF_INET}
	if a.IP.Is6() {
		w.Family = syscall.AF_INET6
	}
	for _, b := range a.IP.AsSlice() {
		w.Address = append(w.Address, int(b))
	}
	return w
}
