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

// validate checks everything that can be told without looking at processes.
func (r Registration) validate() error {
	if err := ValidName(r.Name); err != nil {
		return err
	}
	if r.Class != ClassContainer && r.Class != ClassVM {
		return fmt.Errorf("%w: machines of class %q cannot be registered", ErrInvalidArgument, r.Class)
	}
	if r.Leader.PID < 0 || r.Leader.PID == 1 {
		return fmt.Errorf("%w: process %d cannot be a leader", ErrInvalidArgument, r.Leader.PID)
	}
	for what, text := range map[string]string{
		"service": r.Service, "root directory": r.RootDirectory, "SSH address": r.SSHAddress,
		"SSH private key path": r.SSHPrivateKeyPath, "control address": r.ControlAddress,
	} {
		if !cleanText(text) {
			return fmt.Errorf("%w: %s %q", ErrInvalidArgument, what, text)
		}
	}
	if r.RootDirectory != "" && !path.IsAbs(r.RootDirectory) {
		return fmt.Errorf("%w: root directory %q is not absolute", ErrInvalidArgument, r.RootDirectory)
	}
	if r.VSockCID != 0 && r.VSockCID != AnyCID && (r.VSockCID < minRegularCID || r.VSockCID > maxRegularCID) {
		return fmt.Errorf("%w: VSOCK CID %d", ErrInvalidArgument, r.VSockCID)
	}
	return validInterfaces(r.NetworkInterfaces)
}

func validInterfaces(indices []int) error {
	if len(indices) > maxInterfaces {
		return fmt.Errorf("%w: %d network interfaces, %d are allowed", ErrInvalidArgument, len(indices), maxInterfaces)
	}
	for _, index := range indices {
		if index <= 0 || index > 1<<31-1 {
			return fmt.Errorf("%w: network interface %d", ErrInvalidArgument, index)
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
