package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"berth/machined"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// ErrNoBus means that there is no message bus to be connected to.
var ErrNoBus = errors.New("there is no message bus")

// Dial connects to the message bus of a target. A way there that is a program ends
// with ctx; close ends the connection.
func Dial(ctx context.Context, t Target) (_ *dbus.Conn, closeConn func() error, err error) {
	var conn *dbus.Conn
	var bridge *exec.Cmd
	switch {
	case t.Host != "":
		var args []string
		if args, err = sshCommand(t.Host, os.Getenv("SYSTEMD_SSH"), t.User); err == nil {
			conn, bridge, err = dialProgram(ctx, args)
		}
	case t.Local():
		conn, err = dialLocal(t.User)
	case !t.User && !strings.Contains(t.Container, "@"):
		conn, err = dialContainer(ctx, t.Container)
	default:
		conn, bridge, err = dialProgram(ctx, bridgeCommand(t))
	}
	if err != nil {
		return nil, nil, err
	}
	return conn, func() error {
		err := conn.Close()
		if bridge != nil {
			_ = bridge.Wait() // how it ends says nothing: its stream is gone
		}
		return err
	}, nil
}

func dialLocal(user bool) (*dbus.Conn, error) {
	address, err := Address(user)
	if err != nil {
		return nil, err
	}
	conn, err := Connect(address, inOrder())
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: nobody listens at %s", ErrNoBus, address)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the bus at %s: %w", address, err)
	}
	return conn, nil
}

// Address is where the bus of the system or of this user can be connected to.
func Address(user bool) (string, error) {
	if !user {
		return SystemAddress(os.Getenv), nil
	}
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		return address, nil
	}
	dir, err := runtimeDir()
	if err != nil {
		return "", err
	}
	return "unix:path=" + dir + "/bus", nil
}

// bridgeCommand opens a session of a user in a container and ends at a bus there.
func bridgeCommand(t Target) []string {
	user, name, given := strings.Cut(t.Container, "@")
	if !given {
		user, name = "root", t.Container
	}
	if user == "" {
		user = strconv.Itoa(os.Geteuid())
	}
	if name == "" {
		name = machined.HostName
	}
	args := []string{
		"systemd-run", "-M" + name, "-PGq", "--wait", "-pUser=" + user, "-pPAMName=login", "systemd-stdio-bridge",
	}
	if t.User {
		// The bridges of old systems do not know --user.
		args = append(args, "-punix:path=${XDG_RUNTIME_DIR}/bus")
	}
	return args
}

// dialProgram runs a program whose standard streams lead to a bus.
func dialProgram(ctx context.Context, args []string) (*dbus.Conn, *exec.Cmd, error) {
	ours, theirs, err := streamPair()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	err = cmd.Start()
	closeErr := theirs.Close()
	if err := errors.Join(err, closeErr); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("run %s: %w", args[0], err), ours.Close())
	}
	// The bridge has authenticated itself to the bus.
	conn, err := connectOver(ours, inOrder(), dbus.WithAuth(dbus.AuthAnonymous(), dbus.AuthExternal(strconv.Itoa(os.Geteuid()))))
	if err != nil {
		err = fmt.Errorf("connect to the bus by way of %s: %w", args[0], err)
		if waitErr := cmd.Wait(); waitErr != nil {
			err = fmt.Errorf("%w (%s: %w)", err, args[0], waitErr)
		}
		return nil, nil, err
	}
	return conn, cmd, nil
}

func streamPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	file, theirs := os.NewFile(uintptr(fds[0]), "bus"), os.NewFile(uintptr(fds[1]), "bus")
	conn, err := net.FileConn(file)
	err = errors.Join(err, file.Close())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a socket: %w", err), theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}

// inOrder delivers signals in the order in which they came, and loses none.
func inOrder() dbus.ConnOption { return dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()) }
