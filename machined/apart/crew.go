package apart

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/images/errand"
	"berth/machined/nsenter"
)

const (
	// patience is how long a look into a machine may take: less than the 25 s that
	// clients of D-Bus wait.
	patience = 20 * time.Second
	// stallLimit ends copies that do nothing any more. A disk may be busy for long.
	stallLimit = 2 * time.Minute
	// copyGrace is how long a copy may tidy up when it is not wanted any more.
	copyGrace = 2 * time.Second
	// maxRelease bounds an os-release file, in bytes.
	maxRelease = 256 << 10
	// maxAnswer bounds answers: an account in as many groups as the kernel knows of,
	// or such a file in Base64.
	maxAnswer = 1 << 20
)

// Machine is what is looked into.
type Machine struct {
	nsenter.Target
	// User is whose machine it is.
	User uint32
}

// Crew sends processes. Its methods return errors of package errand when a process
// did not do what it was to do, and [ErrBusy].
type Crew struct {
	looks    *gate // short ones, which wait for each other
	copies   *gate // of which there are no more than the daemon lets begin
	commands *gate // in machines
}

// NewCrew returns a Crew that has no process yet.
func NewCrew() *Crew {
	return &Crew{
		looks:    newGate(limits{machine: 4, user: 16, all: 64}),
		copies:   newGate(limits{machine: 64, user: 64, all: 128}),
		commands: newGate(limits{machine: 512, user: 512, all: 4096}),
	}
}

// Idle reports whether no process is left, of those given up either.
func (c *Crew) Idle() bool { return c.looks.idle() && c.copies.idle() && c.commands.idle() }

// OSRelease returns the text of a machine's os-release(5); os.ErrNotExist.
func (c *Crew) OSRelease(ctx context.Context, m Machine) ([]byte, error) {
	var text []byte
	err := c.look(ctx, m, request{Release: true}, &text)
	return text, err
}

// RootDirectory opens a machine's root directory for reading.
func (c *Crew) RootDirectory(ctx context.Context, m Machine) (*os.File, error) {
	return c.fetch(ctx, m, request{Root: true}, nil, "/")
}

// Connect is nsenter.Target.Connect.
func (c *Crew) Connect(ctx context.Context, m Machine, name string) (_ *net.UnixConn, err error) {
	socket, err := c.fetch(ctx, m, request{Connect: name}, nil, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, socket.Close()) }()
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, fmt.Errorf("connect to %s in the guest: %w", name, err)
	}
	return conn.(*net.UnixConn), nil // of an AF_UNIX stream socket
}

// OpenPTY is nsenter.Target.OpenPTY.
func (c *Crew) OpenPTY(ctx context.Context, m Machine, owner uint32) (nsenter.PTY, error) {
	var p nsenter.PTY
	var err error
	p.Master, err = c.fetch(ctx, m, request{Terminal: &owner}, &p.Number, "/dev/ptmx")
	return p, err
}

// Find is nsenter.Target.Find.
func (c *Crew) Find(ctx context.Context, m Machine, user string, null bool) (nsenter.Found, error) {
	var f nsenter.Found
	r := request{Find: &findRequest{User: user, Null: null}}
	if !null {
		return f, c.look(ctx, m, r, &f)
	}
	device, err := c.fetch(ctx, m, r, &f, "/dev/null")
	f.Null = device
	return f, err
}

// fetch sends a process that opens a file and does not take long.
func (c *Crew) fetch(ctx context.Context, m Machine, r request, answer any, name string) (_ *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	defer func() { err = errors.Join(err, ours.Close(), theirs.Close()) }()
	if err := c.look(ctx, m, r, answer, theirs); err != nil {
		return nil, err
	}
	return receive(ours, name)
}

// BindMount mounts something of the host into a machine that has mounts of its
// own: EINVAL otherwise.
func (c *Crew) BindMount(ctx context.Context, m Machine, r BindRequest) error {
	return c.look(ctx, m, request{Bind: &r}, nil)
}

// Command counts a command that runs in a machine, until ended is called: those
// that were given up and have not ended are among them. [ErrBusy].
func (c *Crew) Command(m Machine) (ended func(), err error) { return c.commands.tryEnter(m) }

// Copy copies between the host and a machine. Its errors are those of
// copytree.Merge.
func (c *Crew) Copy(ctx context.Context, m Machine, r CopyRequest) error {
	leave, err := c.copies.tryEnter(m)
	if err != nil {
		return err
	}
	return errand.Errand{
		Name: Name, Request: request{PID: m.PID, Copy: &r}, Files: []*os.File{m.PIDFD}, MaxAnswer: maxAnswer,
		Grace: copyGrace, Stall: stallLimit, Known: known, Ended: leave,
	}.Run(ctx, nil)
}

// look sends a process that does not take long.
func (c *Crew) look(ctx context.Context, m Machine, r request, answer any, files ...*os.File) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	leave, err := c.looks.enter(ctx, m)
	if err != nil {
		return err
	}
	r.PID = m.PID
	return errand.Errand{
		Name: Name, Request: r, Files: append([]*os.File{m.PIDFD}, files...), MaxAnswer: maxAnswer, Known: known, Ended: leave,
	}.Run(ctx, answer)
}
