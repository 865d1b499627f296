package machineapi

import (
	"context"
	_ "embed" // the interface description
	"encoding/json"
	"errors"
	"fmt"

	"berth/cmd/internal/varlink"
	"berth/machined"
)

//go:embed io.systemd.UserDatabase.varlink
var userInterface string

// UserSocket is where name services find the users of containers.
const UserSocket = "/run/systemd/userdb/" + machineName

const databaseName = "io.systemd.UserDatabase"

// UserSocketAttributes are extended attributes of the socket that save clients
// the way here: which users there can be at all.
func UserSocketAttributes() map[string]string {
	ids := fmt.Sprintf("%d-%d", machined.HostIDs, uint32(1<<32-2))
	return map[string]string{
		"user.userdb.uid": ids, "user.userdb.gid": ids,
		"user.userdb.username": "vu-*", "user.userdb.groupname": "vg-*",
	}
}

// UserDatabase adds the interface for the host's name services to a server of
// its own.
func (s *Service) UserDatabase(server *varlink.Server) error {
	err := server.Handle(userInterface, map[string]varlink.Handler{
		"GetUserRecord": s.userRecord, "GetGroupRecord": s.groupRecord, "GetMemberships": memberships,
	})
	if err != nil {
		return fmt.Errorf("serve users over Varlink: %w", err)
	}
	return nil
}

func userError(name string) error { return &varlink.Error{Name: databaseName + "." + name} }

// narrowing are parameters that came with v258. A client that is told that they
// are invalid asks again without them.
type narrowing struct {
	Service     string          `json:"service"`
	FuzzyNames  json.RawMessage `json:"fuzzyNames"`
	Disposition json.RawMessage `json:"dispositionMask"`
	UIDMin      json.RawMessage `json:"uidMin"`
	UIDMax      json.RawMessage `json:"uidMax"`
	GIDMin      json.RawMessage `json:"gidMin"`
	GIDMax      json.RawMessage `json:"gidMax"`
	UUID        json.RawMessage `json:"uuid"`
}

func (n narrowing) check() error {
	for _, p := range []struct {
		name string
		json json.RawMessage
	}{
		{"fuzzyNames", n.FuzzyNames},
		{"dispositionMask", n.Disposition},
		{"uidMin", n.UIDMin},
		{"uidMax", n.UIDMax},
		{"gidMin", n.GIDMin},
		{"gidMax", n.GIDMax},
		{"uuid", n.UUID},
	} {
		if p.json != nil {
			return varlink.InvalidParameter(p.name)
		}
	}
	if n.Service != machineName {
		return userError("BadService")
	}
	return nil
}

// userRecord is what https://systemd.io/USER_RECORD says of a user that is only
// a name for a number.
type userRecord struct {
	UserName      string `json:"userName"`
	UID           uint32 `json:"uid"`
	GID           uint32 `json:"gid"`
	RealName      string `json:"realName"`
	HomeDirectory string `json:"homeDirectory"`
	Shell         string `json:"shell"`
	Locked        bool   `json:"locked"`
	Service       string `json:"service"`
	Disposition   string `json:"disposition"`
}

// nobody is the group of users that have none of their own on the host.
const nobody = 65534

func (s *Service) userRecord(ctx context.Context, call *varlink.Call) error {
	var in struct {
		narrowing
		UID  idNumber `json:"uid"`
		Name *string  `json:"userName"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	a, err := s.account(ctx, machined.UserIDs, in.UID, in.Name)
	if err != nil {
		return err
	}
	return call.Reply(map[string]userRecord{"record": {
		UserName: a.Name, UID: a.ID, GID: nobody, RealName: a.Description(), HomeDirectory: "/",
		Shell: "/usr/sbin/nologin", Locked: true, Service: machineName, Disposition: "container",
	}})
}

// groupRecord is the same for groups.
type groupRecord struct {
	GroupName   string `json:"groupName"`
	GID         uint32 `json:"gid"`
	Description string `json:"description"`
	Service     string `json:"service"`
	Disposition string `json:"disposition"`
}

func (s *Service) groupRecord(ctx context.Context, call *varlink.Call) error {
	var in struct {
		narrowing
		GID  idNumber `json:"gid"`
		Name *string  `json:"groupName"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	a, err := s.account(ctx, machined.GroupIDs, in.GID, in.Name)
	if err != nil {
		return err
	}
	return call.Reply(map[string]groupRecord{"record": {
		GroupName: a.Name, GID: a.ID, Description: a.Description(), Service: machineName, Disposition: "container",
	}})
}

// account finds what a call asks for. The number goes first; a name that is
// given too has to be that of the account.
func (s *Service) account(ctx context.Context, kind machined.IDKind, id idNumber, name *string) (a machined.Account, err error) {
	switch {
	case id.given:
		a, err = s.Manager.AccountByID(ctx, kind, id.number)
	case name != nil:
		a, err = s.Manager.AccountByName(ctx, kind, *name)
	default:
		return a, userError("EnumerationNotSupported")
	}
	switch {
	case errors.Is(err, machined.ErrNoMapping), errors.Is(err, machined.ErrHostID), errors.Is(err, machined.ErrInvalidArgument):
		return a, userError("NoRecordFound")
	case err == nil && name != nil && a.Name != *name:
		return a, userError("ConflictingRecordFound")
	}
	return a, err
}

// memberships of machines' users are the machines' own affair.
func memberships(_ context.Context, call *varlink.Call) error {
	var in narrowing
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	return userError("NoRecordFound")
}
