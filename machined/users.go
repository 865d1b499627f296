package machined

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Account is a user or group of a container as the host's name services know
// it.
type Account struct {
	Kind IDKind
	// Name is "vu-MACHINE-NUMBER", for groups "vg-MACHINE-NUMBER".
	Name    string
	ID      uint32 // on the host
	Machine string
	Inner   uint32 // in the machine
}

// Description says in words what the account is.
func (a Account) Description() string {
	return fmt.Sprintf("%s %d of Container %s", strings.ToUpper(string(a.Kind)), a.Inner, a.Machine)
}

// accountPrefixes begin the names of the accounts of machines.
var accountPrefixes = map[IDKind]string{UserIDs: "vu-", GroupIDs: "vg-"}

// AccountByID finds the account with a number of the host. [ErrNoMapping] if no
// container has it, or if the machine's name is too long for the name of an
// account, or has a dot.
func (m *Manager) AccountByID(ctx context.Context, kind IDKind, id uint32) (Account, error) {
	machine, inner, err := m.MapTo(ctx, kind, id)
	if err != nil {
		return Account{}, err
	}
	a := Account{
		Kind: kind, Name: fmt.Sprintf("%s%s-%d", accountPrefixes[kind], machine.Name, inner),
		ID: id, Machine: machine.Name, Inner: inner,
	}
	if !validAccountName(a.Name) {
		return Account{}, fmt.Errorf("account name %q: %w", a.Name, ErrNoMapping)
	}
	return a, nil
}

// AccountByName finds the account of that name. [ErrNoMapping] if there is
// none; what belongs to the host has none, whatever a container calls it.
func (m *Manager) AccountByName(ctx context.Context, kind IDKind, name string) (Account, error) {
	none := fmt.Errorf("account %q: %w", name, ErrNoMapping)
	rest, ok := strings.CutPrefix(name, accountPrefixes[kind])
	dash := strings.LastIndexByte(rest, '-') // machine names have some too
	if !ok || dash < 0 || !validAccountName(name) {
		return Account{}, none
	}
	inner, err := parseUint32(rest[dash+1:])
	// Only one of the ways to write a number is that of a name.
	if err != nil || strconv.FormatUint(uint64(inner), 10) != rest[dash+1:] || !ValidID(inner) {
		return Account{}, none
	}
	a := Account{Kind: kind, Name: name, Machine: rest[:dash], Inner: inner}
	if a.ID, err = m.MapFrom(ctx, a.Machine, kind, inner); err != nil {
		if ctx.Err() != nil {
			return Account{}, err
		}
		return Account{}, none
	}
	// A container without a user namespace owns none of its users.
	if _, back, ok := m.owner(ctx, a.Machine, kind, a.ID); !ok || a.ID < HostIDs || back != inner {
		return Account{}, none
	}
	return a, nil
}

// maxAccountName is what utmp(5) has room for, less the NUL.
const maxAccountName = 31

// validAccountName is the strictest of the tests that programs put names of
// users to.
func validAccountName(s string) bool {
	if s == "" || len(s) > maxAccountName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' && c != '-' {
			return false
		}
	}
	return s[0] != '-' && (s[0] < '0' || s[0] > '9')
}
