package machined

import (
	"context"
	"os"
	"syscall"
	"time"
)

// Unit is where processes are grouped: a unit of the service manager or a
// cgroup that machined made. The zero value means none.
type Unit struct {
	Name string // such as "machine-foo.scope"
	// Subgroup is the cgroup path below the unit, empty if the processes are in
	// the unit itself.
	Subgroup string
	// Cgroup is the path of the unit itself (without the subgroup) from the root
	// of the cgroup tree. Only the backend that set it reads it.
	Cgroup string
}

// Scope asks for a unit around processes that run already.
type Scope struct {
	Unit        string // name of the unit
	Description string
	UID         uint32 // owner of the machine
	// Leader is moved into the unit. Its supervisor stays where it is: it may be
	// a daemon that serves many machines.
	Leader *Process
	// Properties are for the service manager, as the caller gave them; other
	// backends have no use for them.
	Properties []Property
}

// Property is a setting of a unit on its way from a transport to the backend
// that speaks the same. Nobody in between looks at the value.
type Property struct {
	Name  string
	Value any
}

// Service asks for a new process in a unit of its own.
type Service struct {
	// Unit is the name of the unit. Where a service must be called so, ".scope" at
	// its end becomes ".service"; UnitOf tells.
	Unit        string
	Description string
	Path        string
	Args        []string // beginning with argv[0]
	Env         []string // the whole environment; a service manager adds to it
	Dir         string   // working directory, "" means "/"
	// Files become descriptors 0, 1, 2 and so on of the process.
	Files []*os.File
}

// Units groups the processes of machines. Backends are safe for concurrent use;
// package units/unitstest holds the contract as tests.
type Units interface {
	// StartScope makes the unit and moves the leader in; [ErrNoSuchProcess] if it
	// has ended, [ErrJobFailed] if the service manager gave up. If the leader is in it already nothing is done. Leftovers of an
	// earlier unit of that name are killed first.
	StartScope(ctx context.Context, scope Scope) (Unit, error)
	// StartService starts the process inside its new unit; leftovers are dealt
	// with as in StartScope. The caller closes the Process and collects its exit
	// status with [Process.ExitStatus].
	StartService(ctx context.Context, service Service) (*Process, error)
	// Stop ends everything in the unit (the subgroup does not matter): SIGTERM to
	// the given processes, which need not be in it, to all in it if none is given,
	// and after grace SIGKILL to whatever is left. A service that the service
	// manager knows how to stop is left to it, unless grace is 0. It returns nil
	// when the unit is empty or was not there.
	// When ctx ends first the unit is left as it is.
	Stop(ctx context.Context, unit Unit, grace time.Duration, first ...*Process) error
	// Kill sends sig to all processes of the unit, or of its subgroup if one is
	// named; [ErrNoSuchProcess] if there are none.
	Kill(ctx context.Context, unit Unit, sig syscall.Signal) error
	// UnitOf returns the unit of a process, the zero Unit if it is in none.
	UnitOf(ctx context.Context, pid int) (Unit, error)
	// Follow reports whether a unit still holds processes; a service manager counts
	// a unit that is active without any. If so, Watch tells its end, whoever made it.
	Follow(ctx context.Context, unit Unit) (active bool, err error)
	// Watch calls f with the name of each unit whose last process has ended: those
	// made by StartScope or StartService, also by an earlier run of the daemon, and
	// those that were asked for by Follow. f must not block. Cancel waits for a call
	// of f that is under way.
	Watch(f func(unit string)) (cancel func())
	// Close ends the backend's goroutines and leaves units and processes alone.
	Close() error
}

// ImageStarter is a [Units] with a way of its own to start machines from images.
// The machine registers itself.
type ImageStarter interface {
	// StartImage returns when the machine is up; [ErrStartFailed].
	StartImage(ctx context.Context, machine string) error
}
