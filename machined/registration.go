package machined

import (
	"fmt"
	"os"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ProcessRef is how a caller names a process: by PID, by PID and pidfd inode
// number, by pidfd, or by several of them, which then must agree. The zero
// value means the caller itself.
type ProcessRef struct {
	ProcessID
	PIDFD *os.File // stays the caller's
}

// IsZero reports whether nothing is named.
func (r ProcessRef) IsZero() bool { return r.PID == 0 && r.PIDFDID == 0 && r.PIDFD == nil }

// Registration is what a caller says about a machine.
type Registration struct {
	Name              string
	ID                [16]byte
	Service           string
	Class             Class // container or vm
	Leader            ProcessRef
	RootDirectory     string // empty or absolute
	NetworkInterfaces []int
	VSockCID          uint32 // 0 and AnyCID: none
	SSHAddress        string
	SSHPrivateKeyPath string
	ControlAddress    string
	// AllocateUnit asks for a scope of the machine's own; otherwise the unit that
	// the leader is in is kept, and a scope is made only if it is in none.
	AllocateUnit bool
	// ScopeProperties are for the scope of the machine's own, see [Scope].
	ScopeProperties []Property
}

// Limits of what one registration may hold, so that state files stay small.
const (
	maxText       = 4096
	maxInterfaces = 1024
	maxRegularCID = AnyCID - 1
	minRegularCID = 3 // 0 to 2: hypervisor, local, host
)

// FieldError is an [ErrInvalidArgument] that knows which field of a
// [Registration] is not acceptable.
type FieldError struct{ Field, Reason string }

func (e *FieldError) Error() string { return ErrInvalidArgument.Error() + ": " + e.Reason }

// Unwrap makes it an ErrInvalidArgument.
func (e *FieldError) Unwrap() error { return ErrInvalidArgument }

func badField(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// validate checks everything that can be told without looking at processes and
// at other machines: [ErrInvalidName], or a [FieldError].
func (r Registration) validate() error {
	if err := ValidName(r.Name); err != nil {
		return err
	}
	if r.Class != ClassContainer && r.Class != ClassVM {
		return badField("Class", "machines of class %q cannot be registered", r.Class)
	}
	if r.Leader.PID < 0 || r.Leader.PID == 1 {
		return badField("Leader", "process %d cannot be a leader", r.Leader.PID)
	}
	for _, f := range []struct{ field, text string }{
		{"Service", r.Service},
		{"RootDirectory", r.RootDirectory},
		{"SSHAddress", r.SSHAddress},
		{"SSHPrivateKeyPath", r.SSHPrivateKeyPath},
		{"ControlAddress", r.ControlAddress},
	} {
		if !cleanText(f.text) {
			return badField(f.field, "%s %q", f.field, f.text)
		}
	}
	if r.RootDirectory != "" && !path.IsAbs(r.RootDirectory) {
		return badField("RootDirectory", "root directory %q is not absolute", r.RootDirectory)
	}
	if r.VSockCID != 0 && r.VSockCID != AnyCID && (r.VSockCID < minRegularCID || r.VSockCID > maxRegularCID) {
		return badField("VSockCID", "VSOCK CID %d", r.VSockCID)
	}
	return validInterfaces(r.NetworkInterfaces)
}

func validInterfaces(indices []int) error {
	if len(indices) > maxInterfaces {
		return badField("NetworkInterfaces", "%d network interfaces, %d are allowed", len(indices), maxInterfaces)
	}
	for _, index := range indices {
		if index <= 0 || index > 1<<31-1 {
			return badField("NetworkInterfaces", "network interface %d", index)
		}
	}
	return nil
}

// cleanText refuses what no reader of a state file expects in a value.
func cleanText(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// machine is the part of the machine that the registration tells.
func (r Registration) machine(owner uint32) Machine {
	m := Machine{
		Name: r.Name, ID: r.ID, Class: r.Class, Service: r.Service, UID: owner,
		RootDirectory: r.RootDirectory, NetworkInterfaces: r.NetworkInterfaces, VSockCID: r.VSockCID,
		SSHAddress: r.SSHAddress, SSHPrivateKeyPath: r.SSHPrivateKeyPath, ControlAddress: r.ControlAddress,
		State: StateRunning,
	}
	if m.VSockCID == 0 {
		m.VSockCID = AnyCID
	}
	return m.clone()
}
