package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// ErrHeld means that another process serves the socket.
var ErrHeld = errors.New("another daemon is running")

// Listeners returns the sockets that the service manager passed under a name;
// none if the daemon was started by hand.
func Listeners(name string) ([]net.Listener, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take sockets from the service manager: %w", err)
	}
	return named[name], nil
}

// Listen binds a socket at path with the given mode and makes its directory. A
// socket that nobody serves any more is replaced; one that is served is
// [ErrHeld], and the error names who does.
func Listen(ctx context.Context, path string, mode os.FileMode) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of a socket: %w", err)
	}
	if err := clear(ctx, path); err != nil {
		return nil, err
	}
	// The mode must be right before the first client can connect.
	old := unix.Umask(0o777 &^ int(mode.Perm()))
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return l, nil
}

// clear removes the socket of a daemon that is gone, or a link that the service
// manager made beside a socket of its own: who serves that is no matter of this
// path.
func clear(ctx context.Context, path string) error {
	if st, err := os.Lstat(path); err == nil && st.Mode().Type() == os.ModeSymlink {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the link of an earlier socket: %w", err)
		}
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		defer conn.Close()
		return fmt.Errorf("listen at %s: %w: %s", path, ErrHeld, holder(conn))
	case errors.Is(err, unix.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the socket of an earlier daemon: %w", err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("look who listens at %s: %w", path, err)
	}
	return nil
}

// holder names the process at the other end.
func holder(conn net.Conn) string {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return "an unknown process"
	}
	var cred *unix.Ucred
	if err := raw.Control(func(fd uintptr) {
		cred, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || cred == nil {
		return "an unknown process"
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cred.Pid))
	if err != nil {
		return fmt.Sprintf("process %d", cred.Pid)
	}
	return fmt.Sprintf("process %d (%s)", cred.Pid, strings.TrimSpace(string(comm)))
}
