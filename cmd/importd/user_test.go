package main

import (
	"bytes"
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

// TestUserDaemon: an importd of a user serves that user's images on that user's bus
// and socket.
func TestUserDaemon(t *testing.T) {
	b := newBench(t)
	if err := ownhost.Build(t.Context(), b.dir, "importd", "importctl"); err != nil {
		t.Fatal(err)
	}
	run, home := b.path("run"), b.path("home")
	for dir, owner := range map[string]int{b.dir: 0, run: somebody, home: somebody} {
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
	privatebus.StartAt(t, filepath.Join(run, "bus"))
	environment := append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+run, "XDG_STATE_HOME=", "DBUS_SESSION_BUS_ADDRESS=")
	as := func(program string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), b.path(program), args...)
		cmd.Env, cmd.Dir = environment, home
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
		return cmd
	}
	disk := noise(100 << 10)
	b.write("d.raw", disk)
	tool := func(args ...string) (string, error) {
		out, err := as("importctl", append([]string{"--user"}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := tool("list-images"); err == nil || !strings.Contains(out, run+"/systemd/io.systemd.Import") && !strings.Contains(out, "no importd is running") {
		t.Errorf("without a daemon: %v, %s", err, out)
	}
	stop := startDaemon(t, as("importd", "--user"))
	defer stop()
	for _, args := range [][]string{
		{"-m", "import-raw", b.path("d.raw")},
		{"-m", "--verify=no", "pull-raw", "file://" + b.path("d.raw"), "pulled"},
		{"-P", "import-raw", b.path("d.raw"), "portable"},
		{"-m", "export-raw", "d", filepath.Join(home, "out")},
	} {
		if out, err := tool(args...); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	for _, made := range []string{".local/state/machines/d.raw", ".local/state/machines/pulled.raw", ".local/state/portables/portable.raw", "out"} {
		if !bytes.Equal(b.read(filepath.Join(home, made)), disk) {
			t.Errorf("%s is another", made)
		}
	}
	for words, args := range map[string][]string{
		"systemd-nsresourced": {"-m", "--verify=no", "pull-tar", "file:///a.tar"},
		"no place for images": {"-S", "import-raw", b.path("d.raw")},
		"no such image":       {"-m", "export-raw", "nobody"},
		"systemd-mountfsd":    {"-m", "import-tar", b.path("d.raw"), "t"},
	} {
		if out, err := tool(args...); err == nil || !strings.Contains(out, words) {
			t.Errorf("%q: %v, want %q\n%s", args, err, words, out)
		}
	}
	if info, err := os.Stat(filepath.Join(run, "systemd/io.systemd.Import")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	owner := as("busctl")
	owner.Path = "/usr/bin/busctl"
	owner.Args = append(owner.Args, "--address=unix:path="+run+"/bus", "call", "org.freedesktop.import1", "/org/freedesktop/import1",
		"org.freedesktop.import1.Manager", "ListImages", "st", "machine", "0")
	if out, err := owner.CombinedOutput(); err != nil || !strings.Contains(string(out), `"pulled"`) {
		t.Errorf("on the user's bus: %v\n%s", err, out)
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
