package machineapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"

	"berth/cmd/internal/varlink"
	"berth/machined"
)

// idNumber is a user or group on its way in. The largest number stands for none,
// as null does.
type idNumber struct {
	number uint32
	given  bool
}

// UnmarshalJSON takes what fits into 32 bits.
func (n *idNumber) UnmarshalJSON(text []byte) error {
	number := uint32(math.MaxUint32)
	if err := json.Unmarshal(text, &number); err != nil {
		return err
	}
	n.number, n.given = number, number != math.MaxUint32
	return nil
}

// mapping are a user and a group on their way out.
type mapping struct {
	UID     *uint32 `json:"uid,omitempty"`
	GID     *uint32 `json:"gid,omitempty"`
	Machine string  `json:"machineName,omitempty"`
}

// mapFrom asks nobody: everybody may read the maps of processes.
func (s *Service) mapFrom(ctx context.Context, call *varlink.Call) error {
	var in struct {
		lookup
		UID idNumber `json:"uid"`
		GID idNumber `json:"gid"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := checkIDs(in.UID, in.GID); err != nil {
		return err
	}
	m, err := s.find(ctx, call, in.lookup)
	if err != nil {
		return err
	}
	if m.Class != machined.ClassContainer {
		return &varlink.Error{Name: machineName + ".NotSupported"}
	}
	var out mapping
	for _, id := range []struct {
		kind machined.IDKind
		in   idNumber
		out  **uint32
	}{{machined.UserIDs, in.UID, &out.UID}, {machined.GroupIDs, in.GID, &out.GID}} {
		if !id.in.given {
			continue
		}
		outer, err := s.Manager.MapFrom(ctx, m.Name, id.kind, id.in.number)
		if err != nil {
			return idError(id.kind, err)
		}
		*id.out = &outer
	}
	return call.Reply(out)
}

// mapTo finds one machine that has both the user and the group.
func (s *Service) mapTo(ctx context.Context, call *varlink.Call) error {
	var in struct {
		UID idNumber `json:"uid"`
		GID idNumber `json:"gid"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := checkIDs(in.UID, in.GID); err != nil {
		return err
	}
	var out mapping
	for _, id := range []struct {
		kind machined.IDKind
		in   idNumber
		out  **uint32
	}{{machined.UserIDs, in.UID, &out.UID}, {machined.GroupIDs, in.GID, &out.GID}} {
		if !id.in.given {
			continue
		}
		m, inner, err := s.Manager.MapTo(ctx, id.kind, id.in.number)
		if err != nil {
			return idError(id.kind, err)
		}
		if out.Machine != "" && out.Machine != m.Name {
			return noSuchMachine()
		}
		*id.out, out.Machine = &inner, m.Name
	}
	if out.Machine == "" {
		return noSuchMachine()
	}
	return call.Reply(out)
}

func checkIDs(uid, gid idNumber) error {
	switch {
	case uid.given && !machined.ValidID(uid.number):
		return varlink.InvalidParameter("uid")
	case gid.given && !machined.ValidID(gid.number):
		return varlink.InvalidParameter("gid")
	}
	return nil
}

// idError tells users and groups apart, which the core does not.
func idError(kind machined.IDKind, err error) error {
	name := map[machined.IDKind]string{machined.UserIDs: "User", machined.GroupIDs: "Group"}[kind]
	switch {
	case errors.Is(err, machined.ErrHostID):
		return &varlink.Error{Name: machineName + "." + name + "InHostRange"}
	case errors.Is(err, machined.ErrNoMapping):
		return &varlink.Error{Name: machineName + ".NoSuch" + name}
	}
	return wireError(err)
}
