package machined

import (
	"fmt"
	"math"
	"slices"
)

// Class is what kind of machine it is.
type Class string

// The classes of machines.
const (
	ClassContainer Class = "container"
	ClassVM        Class = "vm"
	ClassHost      Class = "host" // only the machine [HostName]
)

// ParseClass returns the class of the given name. The empty text is refused.
func ParseClass(s string) (Class, error) {
	switch c := Class(s); c {
	case ClassContainer, ClassVM, ClassHost:
		return c, nil
	}
	return "", fmt.Errorf("%w: unknown machine class %q", ErrInvalidArgument, s)
}

// State is where a machine is in its life.
type State string

// The states of machines.
const (
	StateOpening State = "opening"
	StateRunning State = "running"
	StateClosing State = "closing" // it was told to end
)

// AnyCID is the VSOCK context id of a machine that has none.
const AnyCID uint32 = math.MaxUint32

// ProcessID names a process. PIDFDID, the inode number of its pidfd, tells it
// from a later process with the same PID; it is 0 on kernels before 6.9.
type ProcessID struct {
	PID     int
	PIDFDID uint64
}

// Machine is a registered machine as it was at one moment. It is a value: it
// does not follow later changes.
type Machine struct {
	Name    string
	ID      [16]byte // all zero: unknown
	Class   Class
	Service string // the software that registered it; may be empty
	UID     uint32 // owner
	// Unit and Subgroup say where its processes are; Subgroup is the cgroup path
	// below the unit. Unit is empty on hosts without units.
	Unit, Subgroup string
	Leader         ProcessID
	Supervisor     ProcessID // PID 0: none
	// RootDirectory is what the registering software said: not checked.
	RootDirectory     string
	NetworkInterfaces []int // host-side interface indices
	VSockCID          uint32
	SSHAddress        string
	SSHPrivateKeyPath string
	ControlAddress    string
	// Realtime and Monotonic are when it was registered, in µs of the two clocks.
	Realtime, Monotonic uint64
	State               State

	// cgroup is the path of the unit in the cgroup tree, for the unit's backend.
	cgroup string
	// shared: another machine has its processes in the unit too.
	shared bool
	// lingers: the leader is dead, but there is something in the unit, which is
	// all the machine's.
	lingers bool
	// supervised: the supervisor runs just this machine, so that ending the
	// machine begins with asking the supervisor.
	supervised bool
	// managed is set for machines that Start started: exit status 133 of the
	// supervisor then asks for another start.
	managed bool
}

func (m Machine) clone() Machine {
	m.NetworkInterfaces = slices.Clone(m.NetworkInterfaces)
	return m
}

// unit is the machine's place as the units backend knows it.
func (m Machine) unit() Unit {
	return Unit{Name: m.Unit, Subgroup: m.Subgroup, Cgroup: m.cgroup}
}
