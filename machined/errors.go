package machined

import (
	"errors"
	"fmt"
)

// What callers test for. Adapters translate these into error names once, at
// the edge.
var (
	// ErrNoSuchMachine: no machine of that name is registered.
	ErrNoSuchMachine = errors.New("no such machine")
	// ErrNoMachineForPID: the process belongs to no machine.
	ErrNoMachineForPID = errors.New("process belongs to no machine")
	// ErrMachineExists: a living machine has that name, or one is being started.
	ErrMachineExists = errors.New("machine already exists")
	// ErrInvalidName: the text can never name a machine.
	ErrInvalidName = errors.New("invalid machine name")
	// ErrInvalidArgument: another value of a request is not acceptable.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrNotSupported: machines of this class or shape cannot do that.
	ErrNotSupported = errors.New("operation not supported for this machine")
	// ErrComplexMapping: the machine's ids are not the host's, moved by a number. It
	// is ErrNotSupported as well.
	ErrComplexMapping = fmt.Errorf("complex id mapping: %w", ErrNotSupported)
	// ErrNotOwner: the caller may not register this process.
	ErrNotOwner = errors.New("process does not belong to the caller")
	// ErrNoSuchProcess: the process to look at or to signal is gone.
	ErrNoSuchProcess = errors.New("no such process")
	// ErrNoPrivateNetworking: the machine lives in the host's network namespace.
	ErrNoPrivateNetworking = errors.New("machine has no private networking")
	// ErrNoMapping: no user or group belongs to the number.
	ErrNoMapping = errors.New("no matching user or group mapping")
	// ErrHostID: the number is one of the host's own users or groups.
	ErrHostID = errors.New("belongs to the host")
	// ErrTooManyOperations: as many operations as allowed are running.
	ErrTooManyOperations = errors.New("too many operations in progress")
	// ErrNoRunner: this host has nothing to start machines with.
	ErrNoRunner = errors.New("no program to start machines with is installed, such as systemd-nspawn (Debian package systemd-container)")
	// ErrStartFailed: the runner ended before the machine had a leader.
	ErrStartFailed = errors.New("machine did not start")
	// ErrJobFailed: the service manager did not bring the unit up.
	ErrJobFailed = errors.New("job of the service manager failed")
	// ErrClosed: the manager was closed.
	ErrClosed = errors.New("manager is closed")
)
