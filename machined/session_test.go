package machined

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/fixtures/guest/guesttest"
	"berth/machined/nsenter"
)

// expect reads from a terminal until it has shown the text.
func expect(t *testing.T, terminal Terminal, text string) {
	t.Helper()
	// A file of its own, so that reading can be given up.
	fd, err := unix.Dup(int(terminal.File.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	in := os.NewFile(uintptr(fd), terminal.Path)
	defer in.Close() //nolint:errcheck // of a test
	deadline := time.Now().Add(time.Minute)
	if err := in.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	b := make([]byte, 1)
	shown := await.Met(time.Until(deadline), func() bool {
		for !strings.Contains(seen.String(), text) {
			n, err := in.Read(b)
			if errors.Is(err, unix.EIO) {
				return false // hung up, as logins begin with
			}
			if err != nil {
				t.Fatalf("terminal shows %q and not %q: %v", seen.String(), text, err)
			}
			seen.Write(b[:n])
		}
		return true
	})
	if !shown {
		t.Fatalf("terminal shows %q and not %q", seen.String(), text)
	}
}

func closing(t *testing.T, terminal Terminal, err error) Terminal {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.File.Close() })
	return terminal
}

func TestOpenPTY(t *testing.T) {
	for kind, args := range map[string][]string{"with user namespace": nil, "without": {sharedUsers}} {
		t.Run(kind, func(t *testing.T) {
			m := bootGuest(t, "berth-pty", args...)
			got, err := m.OpenPTY(t.Context(), m.name)
			terminal := closing(t, got, err)
			out, _ := runIn(t, m, "stat -c %u:%t:%a "+terminal.Path+"; echo from inside > "+terminal.Path)
			if !strings.HasPrefix(out, "0:88:") {
				t.Errorf("other end is %q in the machine", out)
			}
			expect(t, terminal, "from inside")
		})
	}
}

func TestPlantedTerminals(t *testing.T) {
	m := bootGuest(t, "berth-pty-planted", sharedUsers)
	for kind, script := range map[string]string{
		"a pipe": "mkfifo /dev/pts/ptmx", "another device": "ln -s /dev/null /dev/pts/ptmx",
		"a link out": "rm -f /dev/ptmx; ln -s /proc/1/fd/0 /dev/pts/ptmx",
	} {
		if out, result := runIn(t, m, "mount -t tmpfs none /dev/pts && "+script); result.ExitCode != 0 {
			t.Fatal(out)
		}
		if terminal, err := m.OpenPTY(t.Context(), m.name); err == nil {
			t.Errorf("%s in place of the devpts is opened as %s", kind, terminal.Path)
		}
	}
}

func TestShellWithoutSystemd(t *testing.T) {
	m := bootGuest(t, "berth-shell")
	got, err := m.OpenShell(t.Context(), m.name, ShellRequest{User: "alice", Env: []string{"TERM=dumb", "WORD=seven"}})
	terminal := closing(t, got, err)
	if _, err := io.WriteString(terminal.File, "echo $WORD-$((7 + 8))-$(id -un)-$(tty)\n"); err != nil {
		t.Fatal(err)
	}
	expect(t, terminal, "seven-15-alice-"+terminal.Path)
	// It controls the session. What is to be interrupted speaks for itself, when it
	// is in the foreground.
	type step struct{ typed, shown string }
	for _, s := range []step{{"sh -c 'echo be\"\"gun; exec sleep 1000'\n", "begun"}, {"\x03", "$ "}, {"echo inter''rupted\n", "interrupted"}} {
		if _, err := io.WriteString(terminal.File, s.typed); err != nil {
			t.Fatal(err)
		}
		expect(t, terminal, s.shown)
	}

	got, err = m.OpenShell(t.Context(), m.name, ShellRequest{Path: "/bin/sh", Args: []string{"named", "-c", "echo $0"}})
	expect(t, closing(t, got, err), "named")
	if _, err := m.OpenShell(t.Context(), m.name, ShellRequest{Path: "/bin/absent"}); !errors.Is(err, nsenter.ErrCommandNotFound) {
		t.Errorf("absent program: %v", err)
	}
	if _, err := m.OpenShell(t.Context(), m.name, ShellRequest{User: "bob"}); !errors.Is(err, nsenter.ErrUnknownUser) {
		t.Errorf("absent user: %v", err)
	}
	if _, err := m.OpenLogin(t.Context(), m.name); !errors.Is(err, ErrNoBus) {
		t.Errorf("login without systemd: %v", err)
	}
}

func TestHangUpEndsShell(t *testing.T) {
	m := bootGuest(t, "berth-hangup")
	terminal, err := m.OpenShell(t.Context(), m.name, ShellRequest{Path: "/bin/sh", Args: []string{"sh", "-c", "echo up; exec sleep 4711"}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, terminal, "up")
	if err := terminal.File.Close(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "the program to end without its terminal", func() bool {
		out, _ := runIn(t, m, "grep -l '471[1]' /proc/[0-9]*/cmdline 2>/dev/null")
		return out == ""
	})
}

func TestSessionsOfSystemd(t *testing.T) {
	for kind, args := range map[string][]string{"with user namespace": nil, "without": {sharedUsers}} {
		t.Run(kind, func(t *testing.T) {
			m := bootTree(t, "berth-session", guesttest.Debian(t), args...)
			awaitBus(t, m)
			got, err := m.OpenShell(t.Context(), m.name, ShellRequest{
				Path: "/bin/sh", Args: []string{"sh", "-c", "echo $WORD; cat /proc/self/cgroup; read x"}, Env: []string{"WORD=seven"},
			})
			terminal := closing(t, got, err)
			expect(t, terminal, "seven")
			expect(t, terminal, fmt.Sprintf("container-shell@%s.service", strings.TrimPrefix(terminal.Path, "/dev/pts/")))

			got, err = m.OpenShell(t.Context(), m.name, ShellRequest{})
			terminal = closing(t, got, err)
			expect(t, terminal, "# ")
			if _, err := io.WriteString(terminal.File, "echo $0 $((7 + 8)) $USER\n"); err != nil {
				t.Fatal(err)
			}
			expect(t, terminal, "/bin/bash 15 root")

			got, err = m.OpenLogin(t.Context(), m.name)
			expect(t, closing(t, got, err), "login:")
		})
	}
}

// awaitBus waits until the machine's systemd answers on its bus.
func awaitBus(t *testing.T, m registered) {
	t.Helper()
	await.Until(t, 5*time.Minute, "the machine to have a bus", func() bool {
		_, result := runIn(t, m, "test -S /run/dbus/system_bus_socket && systemctl is-active dbus.service multi-user.target")
		return result.ExitCode == 0
	})
}

func TestSessionRefusals(t *testing.T) {
	m := managerOf(t, "shared", hostProcess(t))
	for name, r := range map[string]ShellRequest{
		"user with dash": {User: "-x"}, "user with colon": {User: "a:b"}, "user with slash": {User: "a/b"}, "user of dots": {User: ".."},
		"user with space": {User: " a"}, "user 65535": {User: "65535"}, "padded number": {User: "007"}, "relative program": {Path: "sh"},
		"no assignment": {Env: []string{"A"}}, "bad name": {Env: []string{"1A=x"}}, "twice": {Env: []string{"A=1", "A=2"}},
		"control character": {Env: []string{"A=\x1b"}}, "NUL": {Path: "/bin/sh", Args: []string{"a\x00"}},
	} {
		if _, err := m.OpenShell(t.Context(), m.name, r); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.OpenShell(t.Context(), m.name, ShellRequest{Env: make([]string, MaxEnvironment+1)}); !errors.Is(err, ErrTooManyVariables) {
		t.Errorf("large environment: %v", err)
	}
	m.change(func(machine *Machine) { machine.UID = 1000 })
	if _, err := m.OpenShell(t.Context(), m.name, ShellRequest{}); !errors.Is(err, ErrUnsafeMachine) {
		t.Errorf("shell in a user's machine with the host's users: %v", err)
	}
	if _, err := m.OpenLogin(t.Context(), m.name); !errors.Is(err, ErrUnsafeMachine) {
		t.Errorf("login in a user's machine with the host's users: %v", err)
	}
	m.change(func(machine *Machine) { machine.UID, machine.Class = 0, ClassVM })
	for name, open := range map[string]func() (Terminal, error){
		"pty":   func() (Terminal, error) { return m.OpenPTY(t.Context(), m.name) },
		"login": func() (Terminal, error) { return m.OpenLogin(t.Context(), m.name) },
		"shell": func() (Terminal, error) { return m.OpenShell(t.Context(), m.name, ShellRequest{}) },
	} {
		if _, err := open(); !errors.Is(err, ErrNotSupported) {
			t.Errorf("%s of a virtual machine: %v", name, err)
		}
	}
}

func TestSessionsOfHost(t *testing.T) {
	m := managerOf(t, "other", hostProcess(t))
	got, err := m.OpenPTY(t.Context(), HostName)
	terminal := closing(t, got, err)
	if err := os.WriteFile(terminal.Path, []byte("here"), 0); err != nil {
		t.Fatal(err)
	}
	expect(t, terminal, "here")
	got, err = m.OpenShell(t.Context(), HostName, ShellRequest{Path: "/bin/sh", Args: []string{"sh", "-c", "echo seven; read x"}})
	expect(t, closing(t, got, err), "seven")
}

func TestOpenRootDirectory(t *testing.T) {
	m := bootGuest(t, "berth-rootdir")
	for name, want := range map[string]string{m.name: "minimal\n", HostName: readFile(t, "/etc/hostname")} {
		dir, err := m.OpenRootDirectory(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close() //nolint:errcheck // of a test
		if list, err := dir.ReadDir(-1); err != nil || len(list) < 5 {
			t.Errorf("%s: entries %v, %v", name, list, err)
		}
		fd, err := unix.Openat(int(dir.Fd()), "etc/hostname", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "hostname")
		defer f.Close() //nolint:errcheck // of a test
		if text, err := io.ReadAll(f); err != nil || string(text) != want {
			t.Errorf("%s: hostname %q, %v", name, text, err)
		}
	}
	m.change(func(machine *Machine) { machine.Class = ClassVM })
	if _, err := m.OpenRootDirectory(t.Context(), m.name); !errors.Is(err, ErrNotSupported) {
		t.Errorf("a virtual machine: %v", err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
