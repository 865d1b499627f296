package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/guest/guesttest"
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
	machine := guesttest.StartOfUser(t, somebody, guesttest.OneID)
	leader := machine.Leader
	u.register("one", leader)
	state, err := os.ReadFile(filepath.Join(u.run, "systemd/machines/one"))
	if want := fmt.Sprintf("\nUID=%d\n", somebody); err != nil || !bytes.Contains(state, []byte(want)) {
		t.Errorf("state: %v\n%s", err, state)
	}
	u.seeMachine()
	u.enterMachine()
	u.enterRange()
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
	u.refuse("no machine '.host' known", "status", ".host")
}

// refuse is a call of machinectl that fails with these words.
func (u userBench) refuse(words string, args ...string) {
	u.t.Helper()
	out, err := u.command(filepath.Join(u.bin, "machinectl"), append([]string{"--user"}, args...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), words) {
		u.t.Errorf("%q: %v, want %q\n%s", args, err, words, out)
	}
}

// enterMachine does all that needs namespaces of the machine.
func (u userBench) enterMachine() {
	u.t.Helper()
	if got := u.machinectl("exec", "one", "--", "/bin/sh", "-c", "id -u; cat /etc/hostname; echo $HOME"); got != "0\nminimal\n/root\n" {
		u.t.Errorf("a command says %q", got)
	}
	out, err := u.command(filepath.Join(u.bin, "machinectl"), "--user", "exec", "one", "--", "/bin/sh", "-c", "exit 7").CombinedOutput()
	if failed, ok := errors.AsType[*exec.ExitError](err); !ok || failed.ExitCode() != 7 {
		u.t.Errorf("exit status: %v\n%s", err, out)
	}
	if got := u.machinectl("shell", "one", "/bin/sh", "-c", "tty; stat -c %u $(tty)"); !strings.Contains(got, "/dev/pts/0") || !strings.Contains(got, "\n0") {
		u.t.Errorf("on a terminal: %q", got)
	}
	u.refuse("no system bus", "login", "one")
	u.machinectl("exec", "one", "--", "/bin/ip", "addr", "add", "10.98.0.1/24", "dev", "lo")
	if got := u.machinectl("status", "one", "--no-pager"); !strings.Contains(got, "10.98.0.1") {
		u.t.Errorf("address of the machine is not known: %s", got)
	}
	u.copyAndBind()
}

func (u userBench) register(name string, leader int) {
	u.t.Helper()
	u.do("/usr/bin/busctl", "--address=unix:path="+u.run+"/bus", "call", "org.freedesktop.machine1", "/org/freedesktop/machine1",
		"org.freedesktop.machine1.Manager", "RegisterMachine", "sayssus", name, "0", "test", "container", fmt.Sprint(leader), "")
}

// enterRange enters a machine whose users are not the user.
func (u userBench) enterRange() {
	u.t.Helper()
	u.register("range", guesttest.StartOfUser(u.t, somebody, guesttest.RangeOfIDs).Leader)
	if got := u.machinectl("exec", "--uid=alice", "range", "--", "/bin/id", "-un"); got != "alice\n" {
		u.t.Errorf("a command of a user of the machine says %q", got)
	}
	// What is made in there would be the user's, who is nobody in there.
	u.refuse("who is not the user of the daemon", "copy-to", "range", filepath.Join(u.home, "out"), "/tmp/in")
	u.machinectl("copy-from", "range", "/etc/hostname", filepath.Join(u.home, "name"))
	if got := u.do("/bin/cat", "name"); got != "minimal\n" {
		u.t.Errorf("copied out of a machine with a range of ids: %q", got)
	}
	u.machinectl("bind", "--mkdir", "range", filepath.Join(u.home, "out"), "/mnt/deep")
	if got := u.machinectl("exec", "range", "--", "/bin/stat", "-c", "%u", "/mnt"); got != "0\n" {
		u.t.Errorf("owner of a mount point: %q", got)
	}
	u.machinectl("terminate", "range")
}

// copyAndBind moves files between the user and his machine.
func (u userBench) copyAndBind() {
	u.t.Helper()
	const script = `mkdir -p out && echo seven >out/f && chmod 640 out/f && setfattr -n user.a -v b out/f 2>/dev/null; ln -sf f out/l`
	u.do("/bin/sh", "-c", script)
	u.machinectl("copy-to", "one", filepath.Join(u.home, "out"), "/root/in")
	if got := u.machinectl("exec", "one", "--", "/bin/sh", "-c", "cd /root/in && cat f l && stat -c '%u:%g %a' f"); got != "seven\nseven\n0:0 640\n" {
		u.t.Errorf("copied into the machine: %q", got)
	}
	u.machinectl("exec", "one", "--", "/bin/chmod", "4755", "/root/in/f")
	u.machinectl("copy-from", "one", "/root/in", filepath.Join(u.home, "back"))
	if got := u.do("/bin/sh", "-c", "cd back && cat f l && stat -c '%u %a' f"); got != "seven\nseven\n"+strconv.Itoa(somebody)+" 755\n" {
		u.t.Errorf("copied out of the machine: %q", got)
	}
	u.machinectl("bind", "--mkdir", "one", filepath.Join(u.home, "out"), "/mnt/deep")
	if got := u.machinectl("exec", "one", "--", "/bin/cat", "/mnt/deep/f"); got != "seven\n" {
		u.t.Errorf("bind mount: %q", got)
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
