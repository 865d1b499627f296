package machineapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"

	"berth/cmd/internal/varlink"
	"berth/machined"
)

// process is a process on its way in: a number, a decimal string, or an object
// of these.
type process struct {
	ProcessID
	given bool
}

// number may be written as a string.
type number uint64

// UnmarshalJSON takes both forms.
func (n *number) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil {
		text = []byte(s)
	}
	value, err := strconv.ParseUint(string(text), 10, 64)
	*n = number(value)
	return err
}

// UnmarshalJSON takes all forms. What is a process of no host at all is an error.
func (p *process) UnmarshalJSON(text []byte) error {
	var in struct {
		PID     *number `json:"pid"`
		PIDFDID *number `json:"pidfdId"`
		BootID  string  `json:"bootId"`
	}
	switch text = bytes.TrimSpace(text); {
	case string(text) == "null":
		return nil
	case text[0] == '{':
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			return err
		}
	default:
		in.PID = new(number)
		if err := in.PID.UnmarshalJSON(text); err != nil {
			return err
		}
	}
	if in.PID == nil || *in.PID > math.MaxInt32 {
		return errors.New("not the number of a process")
	}
	p.given, p.PID, p.BootID = true, int(*in.PID), in.BootID
	if in.PIDFDID != nil {
		p.PIDFDID = uint64(*in.PIDFDID)
	}
	return nil
}

// isCaller says that nothing but 0 was given.
func (p process) isCaller() bool { return p.ProcessID == ProcessID{} }

// elsewhere says that the process is, or was, one of another boot.
func (p process) elsewhere(bootID string) bool { return p.BootID != "" && p.BootID != bootID }

func (p process) core() machined.ProcessID {
	return machined.ProcessID{PID: p.PID, PIDFDID: p.PIDFDID}
}

// lookup are the parameters by which a machine is named.
type lookup struct {
	Name        *string `json:"name"`
	PID         process `json:"pid"`
	Interactive bool    `json:"allowInteractiveAuthentication"`
}

// named says that a machine is named at all.
func (l lookup) named() bool { return l.Name != nil || l.PID.given }

func noSuchMachine() error { return &varlink.Error{Name: machineName + ".NoSuchMachine"} }

// find returns the machine that a call names; name and process must agree.
func (s *Service) find(ctx context.Context, call *varlink.Call, l lookup) (machined.Machine, error) {
	return s.findBy(ctx, call, l, s.Manager.Find)
}

// findBy is find with a way to look names up.
func (s *Service) findBy(
	ctx context.Context, call *varlink.Call, l lookup, find func(name string) (machined.Machine, error),
) (m machined.Machine, err error) {
	if !l.named() {
		return m, noSuchMachine()
	}
	if l.Name != nil {
		if *l.Name != machined.HostName && machined.ValidName(*l.Name) != nil {
			return m, varlink.InvalidParameter("name")
		}
		if m, err = find(*l.Name); err != nil || !l.PID.given {
			return m, wireError(err)
		}
	}
	ref, err := s.reference(call, l.PID)
	if err != nil {
		return m, err
	}
	owner, err := s.Manager.FindByProcess(ctx, ref)
	if err != nil {
		return owner, wireError(err)
	}
	if l.Name != nil && (owner.Name != m.Name || owner.Leader != m.Leader) {
		return m, noSuchMachine()
	}
	return owner, nil
}

// reference takes 0 for the caller.
func (s *Service) reference(call *varlink.Call, p process) (ref machined.ProcessRef, err error) {
	if p.isCaller() {
		peer := call.Peer()
		if peer.PID <= 0 {
			return ref, noSuchMachine() // it cannot be seen from here
		}
		ref.PID, ref.PIDFD = peer.PID, peer.PIDFD
		return ref, nil
	}
	bootID, err := readBootID()
	switch {
	case err != nil:
		return ref, err
	case p.PID == 0:
		return ref, varlink.InvalidParameter("pid")
	case p.elsewhere(bootID):
		return ref, noSuchMachine()
	}
	ref.ProcessID = p.core()
	return ref, nil
}
