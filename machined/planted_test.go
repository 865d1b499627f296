package machined

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/machined/machinebus"
)

// plantBus puts a socket in the place of the machine's bus and returns the first
// connection to it.
func plantBus(t *testing.T, m registered) <-chan *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "berth-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "bus")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := errors.Join(os.Chmod(socket, 0o666), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := m.BindMount(t.Context(), m.name, BindRequest{Source: socket, Destination: machinebus.Socket, Mkdir: true}); err != nil {
		t.Fatal(err)
	}
	conns := make(chan *net.UnixConn, 1)
	go func() {
		defer close(conns)
		if conn, err := l.AcceptUnix(); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			conns <- conn
		}
	}()
	return conns
}

// A bus sees its own root, and one that says nothing does not hold anybody up.
func TestBusThatSaysNothing(t *testing.T) {
	for kind, args := range map[string][]string{"with user namespace": nil, "without": {sharedUsers}} {
		t.Run(kind, func(t *testing.T) {
			m := bootGuest(t, "berth-silent", args...)
			shift, err := m.UIDShift(t.Context(), m.name)
			if err != nil {
				t.Fatal(err)
			}
			conns := plantBus(t, m)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				_, err := m.OpenLogin(ctx, m.name)
				ended <- err
			}()
			conn := <-conns
			raw, err := conn.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Control(func(fd uintptr) {
				cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
				if err != nil || cred.Uid != shift || cred.Gid != shift {
					t.Errorf("the bus sees %+v, %v, want user %d", cred, err, shift)
				}
			}); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-ended; err == nil {
				t.Error("a login without an answer")
			}
		})
	}
}

func TestBusThatIsNone(t *testing.T) {
	m := bootGuest(t, "berth-nobus")
	for kind, script := range map[string]string{
		"a pipe": "mkfifo", "a file": "touch", "a link out": "ln -s /proc/1/root/run/dbus/system_bus_socket",
		"a link to the host's": "ln -s " + strings.Repeat("../", 10) + "run/absent",
	} {
		runIn(t, m, "mkdir -p /run/dbus; rm -f "+machinebus.Socket+"; "+script+" "+machinebus.Socket)
		if _, err := m.OpenLogin(t.Context(), m.name); err == nil || kind != "a link out" && !errors.Is(err, ErrNoBus) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func FuzzShellRequest(f *testing.F) {
	f.Add("root", "/bin/sh", "-c", "A=b")
	f.Add("", "", "", "")
	f.Add("65535", "sh", "\x00", "A")
	f.Add("a:b", "/\x00", "", "=")
	f.Fuzz(func(t *testing.T, user, path, arg, variable string) {
		r, err := ShellRequest{User: user, Path: path, Args: []string{arg}, Env: []string{variable}}.Complete()
		if err != nil {
			if !errors.Is(err, ErrInvalidArgument) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		if !filepath.IsAbs(r.Path) || len(r.Args) == 0 || strings.ContainsAny(r.User, "\x00\n:/") {
			t.Errorf("accepted %q", r)
		}
		for _, s := range append([]string{r.Path}, append(r.Args, r.Env...)...) {
			if strings.Contains(s, "\x00") {
				t.Errorf("accepted %q", s)
			}
		}
	})
}
