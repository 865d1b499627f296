package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/machined"
	"berth/machined/nsenter"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// stateDir holds a file for each machine of the system.
const stateDir = "/run/systemd/machines"

// StateField returns a value of a machine's state file, "" where there is none.
// It is for values that need no quoting.
func StateField(dir, name, key string) string {
	if machined.ValidName(name) != nil {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.Trim(strings.TrimSuffix(value, "\n"), `"`)
		}
	}
	return ""
}

// dialContainer connects to the system bus of a container, as the root of the
// container. It needs the rights of root.
func dialContainer(ctx context.Context, name string) (*dbus.Conn, error) {
	if name == machined.HostName {
		return dialLocal(false)
	}
	if err := machined.ValidName(name); err != nil {
		return nil, fmt.Errorf("'%s' is not [USER@]MACHINE: %w", name, err)
	}
	leader, err := strconv.Atoi(StateField(stateDir, name, "LEADER"))
	if err != nil || leader <= 1 {
		return nil, fmt.Errorf("no machine '%s' known: %w", name, machined.ErrNoSuchMachine)
	}
	if class := StateField(stateDir, name, "CLASS"); class != string(machined.ClassContainer) {
		return nil, fmt.Errorf("machine '%s' is no container: %w", name, machined.ErrNotSupported)
	}
	conn, err := connectInside(ctx, leader)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus in machine '%s': %w", name, err)
	}
	bus, err := connectOver(conn, inOrder(), dbus.WithAuth(dbus.AuthExternal("0")))
	if err != nil {
		return nil, fmt.Errorf("connect to the bus in machine '%s': %w", name, err)
	}
	return bus, nil
}

// connectInside connects to the bus socket of the system that a process is in.
// The path is resolved below that system's root and nowhere else.
func connectInside(ctx context.Context, leader int) (conn *net.UnixConn, err error) {
	target, err := nsenter.Open(leader)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.PIDFD.Close()) }()
	root, err := target.Root()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	socket, err := unix.Openat2(int(root.Fd()), "run/dbus/system_bus_socket", &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoBus
	}
	if err != nil {
		return nil, fmt.Errorf("open its bus socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(socket)) }()
	uid, err := rootOf(leader)
	if err != nil {
		return nil, err
	}
	address := &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d", socket)}
	if uid == os.Geteuid() {
		return net.DialUnix("unix", nil, address)
	}
	err = nsenter.In(ctx, target, 0, func() (err error) {
		conn, err = dialAs(uid, address)
		return err
	})
	return conn, err
}

// rootOf is the user of this host who is root to a process.
func rootOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	if err != nil {
		return 0, fmt.Errorf("read its users: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && inside == 0 {
			return outside, nil
		}
	}
	return 0, errors.New("it has no root user")
}

// dialAs connects as another user: the bus in a container takes a caller for its
// root only if that user's number here is the one of its root. It runs on a thread
// that is thrown away: the system call is the raw one, which changes no other.
func dialAs(uid int, address *net.UnixAddr) (*net.UnixConn, error) {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
		return nil, fmt.Errorf("become its root: %w", errno)
	}
	return net.DialUnix("unix", nil, address)
}
