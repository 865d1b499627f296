package bus

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"berth/fixtures/guest"

	"golang.org/x/sys/unix"
)

// insideLeader starts a process in a tree of its own, whose root is that user.
func insideLeader(t *testing.T, tree string, uid int) (pid int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: tree, Credential: &syscall.Credential{}}
	if uid != 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 65536}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the end of the test may have done it
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// The bus in a container sees its own root, by way of links that lead nowhere
// else.
func TestConnectInside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	tree, err := os.MkdirTemp("/var/tmp", "berth-inside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(tree); err != nil {
			t.Error(err)
		}
	})
	if err := guest.Minimal(t.Context(), tree); errors.Is(err, guest.ErrNoBusybox) {
		t.Skip("NOT TESTED: needs a static busybox")
	} else if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tree, 0o755); err != nil { //nolint:gosec // others look into it
		t.Fatal(err)
	}
	if _, err := connectInside(t.Context(), insideLeader(t, tree, 0)); !errors.Is(err, ErrNoBus) {
		t.Errorf("a tree without a bus: %v", err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(tree, "run")), os.MkdirAll(filepath.Join(tree, "elsewhere/dbus"), 0o755),
		os.Symlink("/elsewhere", filepath.Join(tree, "run"))); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(tree, "elsewhere/dbus/system_bus_socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o666); err != nil { //nolint:gosec // as the real one
		t.Fatal(err)
	}
	for _, uid := range []int{0, 100000} {
		conn, err := connectInside(t.Context(), insideLeader(t, tree, uid))
		if err != nil {
			t.Errorf("root is %d: %v", uid, err)
			continue
		}
		if got := acceptFrom(t, l); got != uid {
			t.Errorf("the bus sees %d, want %d", got, uid)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if unix.Geteuid() != 0 {
		t.Error("the process is not what it was")
	}
}

// acceptFrom tells who connects.
func acceptFrom(t *testing.T, l *net.UnixListener) (uid int) {
	t.Helper()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		who, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			t.Error(err)
			return
		}
		uid = int(who.Uid)
	})
	if err != nil {
		t.Fatal(err)
	}
	return uid
}
