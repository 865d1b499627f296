package outside

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/machined"
	"berth/machined/nsenter"
)

// UnitPrefix begins the names of the services.
const UnitPrefix = "machined-exec-"

// killLimit is how long a command that was given up may take to end before its
// unit is killed.
const killLimit = 10 * time.Second

// Services is what starts and ends the services: a [machined.Units].
type Services interface {
	StartService(ctx context.Context, service machined.Service) (*machined.Process, error)
	Stop(ctx context.Context, unit machined.Unit, grace time.Duration, first ...*machined.Process) error
}

// Commands runs commands in services of the host.
type Commands struct {
	services Services
	program  string
	limit    time.Duration // killLimit
}

var _ machined.Commands = Commands{}

// New returns Commands that start this program.
func New(services Services) (Commands, error) {
	program, err := os.Executable()
	if err != nil {
		return Commands{}, fmt.Errorf("find own program: %w", err)
	}
	return Commands{services, program, killLimit}, nil
}

// Exec is [nsenter.Exec] in a service of its own. What the command leaves behind
// is the machine's.
func (c Commands) Exec(ctx context.Context, t nsenter.Target, spec nsenter.Spec) (_ nsenter.Result, err error) {
	if t.PID == os.Getpid() {
		// The daemon stands for the host, and is not as the host is.
		host, err := nsenter.Open(1)
		if err != nil {
			return nsenter.Result{}, err
		}
		defer host.PIDFD.Close() //nolint:errcheck // nothing was written
		t = host
	}
	conn, theirs, err := pair()
	if err != nil {
		return nsenter.Result{}, fmt.Errorf("make socket for command: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	name := UnitPrefix + strings.ToLower(rand.Text()[:16]) + ".service"
	process, err := c.services.StartService(ctx, machined.Service{
		Unit: name, Description: "Command in a Machine",
		Path: c.program, Args: []string{Name}, Env: environment(), Files: []*os.File{theirs},
	})
	if err := errors.Join(err, theirs.Close()); err != nil {
		return nsenter.Result{}, fmt.Errorf("run command outside of the sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, process.Close()) }()
	// It hears of the end by that of what it reads.
	over := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		over <- errors.Join(conn.CloseWrite(), conn.SetReadDeadline(time.Now().Add(c.limit)))
	})
	result, err := converse(conn, t, spec)
	if stop() {
		return result, err
	}
	// Whatever else there was to hear: at its end the program has ended.
	_, err = io.Copy(io.Discard, conn)
	if err = errors.Join(<-over, err); err != nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), killLimit)
		defer cancel()
		err = errors.Join(ctx.Err(), c.services.Stop(limited, machined.Unit{Name: name}, 0))
		return nsenter.Result{}, err
	}
	return nsenter.Result{}, ctx.Err()
}

// environment is that of the program, and no command's.
func environment() []string {
	env := []string{"GOMAXPROCS=1"}
	for _, name := range []string{"GOCOVERDIR", "GORACE"} { // of a test's program
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// pair makes a socket with two ends.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	mine := os.NewFile(uintptr(fds[0]), "command")
	theirs = os.NewFile(uintptr(fds[1]), "command")
	conn, err := net.FileConn(mine)
	if err := errors.Join(err, mine.Close()); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil // of an AF_UNIX stream socket
}

// converse tells the program what to do and hears how it went.
func converse(conn *net.UnixConn, t nsenter.Target, spec nsenter.Spec) (result nsenter.Result, err error) {
	if err := send(conn, t, spec); err != nil {
		return result, fmt.Errorf("hand command over: %w", err)
	}
	replies := json.NewDecoder(conn)
	ended := false
	for {
		var r reply
		switch err := replies.Decode(&r); {
		case errors.Is(err, io.EOF) && ended:
			return result, nil
		case errors.Is(err, io.EOF):
			return result, errors.New("command was killed together with its unit")
		case err != nil:
			return result, fmt.Errorf("hear of command: %w", err)
		}
		switch {
		case r.Failure != nil:
			return result, r.Failure
		case r.Ended != nil:
			// The end of what there is to hear is that of the program.
			result, ended = *r.Ended, true
		case r.Started && spec.Started != nil:
			spec.Started()
		}
	}
}

func send(conn *net.UnixConn, t nsenter.Target, spec nsenter.Spec) error {
	r := request{
		PID: t.PID, Argv: spec.Argv, Env: spec.Env, User: spec.User, Dir: spec.Dir, Program: spec.Program, Terminal: spec.Terminal,
	}
	files := []*os.File{t.PIDFD}
	for i, f := range []*os.File{spec.Stdin, spec.Stdout, spec.Stderr} {
		if f != nil {
			r.Streams[i] = true
			files = append(files, f)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fds := make([]int, 0, maxFiles)
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	// The files come with the first byte.
	if _, _, err := conn.WriteMsgUnix(text[:1], unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	_, err = conn.Write(text[1:])
	return err
}
