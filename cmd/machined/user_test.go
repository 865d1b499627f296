package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/ownhost"
	"berth/fixtures/privatebus"
)

// somebody is an ordinary user that every host has.
const somebody = 65534

// userBench is a user with a home, a runtime directory and a bus.
type userBench struct {
	t              *testing.T
	bin, run, home string
}

func newUserBench(t *testing.T) userBench {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root: to be another user")
	}
	dir, err := os.MkdirTemp("/var/tmp", "berth-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	u := userBench{t, dir, filepath.Join(dir, "run"), filepath.Join(dir, "home")}
	if err := ownhost.Build(t.Context(), dir, "machined", "machinectl"); err != nil {
		t.Fatal(err)
	}
	for dir, owner := range map[string]int{dir: 0, u.run: somebody, u.home: somebody} {
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = os.Chown(dir, owner, owner)
		}
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	privatebus.StartAt(t, filepath.Join(u.run, "bus"))
	return u
}

// command is one that the user runs.
func (u userBench) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HOME="+u.home, "XDG_RUNTIME_DIR="+u.run, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "DBUS_SESSION_BUS_ADDRESS=")
	cmd.Dir = u.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
	return cmd
}

// do runs a program that has to succeed, and returns what it says.
func (u userBench) do(program string, args ...string) string {
	u.t.Helper()
	out, err := u.command(program, args...).CombinedOutput()
	if err != nil {
		u.t.Errorf("%s %q: %v\n%s", filepath.Base(program), args, err, out)
	}
	return string(out)
}

func (u userBench) machinectl(args ...string) string {
	u.t.Helper()
	return u.do(filepath.Join(u.bin, "machinectl"), append([]string{"--user"}, args...)...)
}

// container is a process of the user that is root in a user namespace of its own.
func (u userBench) container() int {
	u.t.Helper()
	// It says that it is there only once it is where it will stay.
	cmd := u.command("/usr/bin/unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", "echo there; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		u.t.Skipf("NOT TESTED: needs user namespaces of plain users: %v", err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	if err != nil {
		u.t.Fatal(err)
	}
	var leader int
	if _, err := fmt.Sscan(string(children), &leader); err != nil {
		u.t.Fatal(err)
	}
	return leader
}

// TestUserDaemon: a machined of a user keeps that user's machines and images, on
// that user's bus and sockets, and takes no part in what is the system's.
func TestUserDaemon(t *testing.T) {
	u := newUserBench(t)
	stop := startDaemon(t, u.command(filepath.Join(u.bin, "machined"), "--user"))
	defer func() { stop() }()
	for _, name := range []string{"io.systemd.Machine", "io.systemd.MachineImage"} {
		if info, err := os.Stat(filepath.Join(u.run, "systemd/machine", name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("socket %s: %v, %v", name, info, err)
		}
	}
	u.seeImages()
	leader := u.container()
	u.do("/usr/bin/busctl", "--address=unix:path="+u.run+"/bus", "call", "org.freedesktop.machine1", "/org/freedesktop/machine1",
		"org.freedesktop.machine1.Manager", "RegisterMachine", "sayssus", "one", "0", "test", "container", fmt.Sprint(leader), "")
	state, err := os.ReadFile(filepath.Join(u.run, "systemd/machines/one"))
	if want := fmt.Sprintf("\nUID=%d\n", somebody); err != nil || !bytes.Contains(state, []byte(want)) {
		t.Errorf("state: %v\n%s", err, state)
	}
	u.seeMachine()
	stop()
	stop = startDaemon(t, u.command(filepath.Join(u.bin, "machined"), "--user"))
	if got := u.machinectl("show", "one", "--property=Leader", "--value"); strings.TrimSpace(got) != fmt.Sprint(leader) {
		t.Errorf("after a restart the leader is %s, want %d", got, leader)
	}
	u.machinectl("kill", "one", "--signal=KILL")
	// The daemon learns of the end by itself, and answers in order.
	u.do("/bin/sh", "-c", `for i in $(seq 500); do [ -e "$XDG_RUNTIME_DIR/systemd/machines/one" ] || exit 0; sleep 0.05; done; exit 1`)
	if got := u.machinectl("list", "--no-legend"); strings.Contains(got, "one") {
		t.Errorf("after its end: %s", got)
	}
	u.seeNothingElse()
}

func (u userBench) seeImages() {
	u.t.Helper()
	u.do("/bin/mkdir", "-p", filepath.Join(u.home, ".local/state/machines/tree/usr"))
	u.machinectl("clone", "tree", "copy")
	u.machinectl("rename", "copy", "other")
	got := u.machinectl("list-images", "--no-legend")
	if !strings.Contains(got, "tree ") || !strings.Contains(got, "other ") || strings.Contains(got, ".host") {
		u.t.Errorf("images: %s", got)
	}
	if got, want := u.machinectl("show", "--property=PoolPath", "--value"), filepath.Join(u.home, ".local/state/machines"); strings.TrimSpace(got) != want {
		u.t.Errorf("images are in %s, want %s", got, want)
	}
	u.machinectl("remove", "other")
	if _, err := os.Stat(filepath.Join(u.home, ".local/state/machines/other")); err == nil {
		u.t.Error("an image that was removed is there")
	}
}

func (u userBench) seeMachine() {
	u.t.Helper()
	if got := u.machinectl("list", "--no-legend"); !strings.Contains(got, "one ") || strings.Contains(got, ".host") {
		u.t.Errorf("machines: %s", got)
	}
	if got := u.machinectl("status", "one", "--no-pager"); !strings.Contains(got, "OS: ") {
		u.t.Errorf("the system in the machine is not known: %s", got)
	}
	for words, args := range map[string][]string{
		"no machine '.host' known": {"status", ".host"},
		"not supported":            {"exec", "one", "--", "/bin/true"},
	} {
		out, err := u.command(filepath.Join(u.bin, "machinectl"), append([]string{"--user"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), words) {
			u.t.Errorf("%q: %v, want %q\n%s", args, err, words, out)
		}
	}
}

// seeNothingElse fails if there is more in the runtime directory than a daemon of
// a user has, or if its state is not empty.
func (u userBench) seeNothingElse() {
	u.t.Helper()
	allowed := map[string]bool{"systemd": true, "systemd/machine": true, "systemd/machines": true, "systemd/nspawn": true}
	err := fs.WalkDir(os.DirFS(filepath.Join(u.run)), ".", func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && strings.HasPrefix(path, "systemd") && !allowed[path] && !strings.HasPrefix(path, "systemd/nspawn/") {
			u.t.Errorf("%s is there", path)
		}
		return err
	})
	if err != nil {
		u.t.Error(err)
	}
}

// startDaemon starts a daemon and waits until it is ready.
func startDaemon(t *testing.T, cmd *exec.Cmd) (stop func()) {
	t.Helper()
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	text, chunk := "", make([]byte, 4096)
	for !strings.Contains(text, "is ready") || !strings.Contains(text, "on the message bus") {
		n, err := said.Read(chunk)
		if text += string(chunk[:n]); err != nil {
			t.Fatalf("the daemon is not ready: %v\n%s", err, text)
		}
	}
	return func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("end of the daemon: %v", err)
		}
	}
}
