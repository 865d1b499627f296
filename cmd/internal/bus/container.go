package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"berth/machined"

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
func dialContainer(name string) (*dbus.Conn, error) {
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
	conn, err := connectInside(leader)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus in machine '%s': %w", name, err)
	}
	bus, err := dbus.ConnectUnix(conn, inOrder(), dbus.WithAuth(dbus.AuthExternal("0")))
	if err != nil {
		return nil, fmt.Errorf("connect to the bus in machine '%s': %w", name, err)
	}
	return bus, nil
}

// connectInside connects to the bus socket of the system that a process is in.
// The path is resolved below that system's root and nowhere else.
func connectInside(leader int) (conn *net.UnixConn, err error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", leader), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open its root: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(root)) }()
	socket, err := unix.Openat2(root, "run/dbus/system_bus_socket", &unix.OpenHow{
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
	return dialAs(uid, address)
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
// root only if that user's number here is the one of its root.
func dialAs(uid int, address *net.UnixAddr) (*net.UnixConn, error) {
	type result struct {
		conn *net.UnixConn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread keeps the user and ends with the goroutine.
		// The system call is the raw one, which changes this thread only.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			done <- result{nil, fmt.Errorf("become its root: %w", errno)}
			return
		}
		conn, err := net.DialUnix("unix", nil, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
