package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
	"berth/fixtures/ownhost"
)

// standInForSSH says with which options it was called, and runs what the other
// side would be told to.
const standInForSSH = `#!/bin/sh
echo "$@" >>"$0.log"
for script; do :; done
case $script in "exec login") echo login:; exit 0;; esac
exec sh -c "$script"
`

// register makes a virtual machine of this host's machined.
func registerVM(t *testing.T, name string, more map[string]any) {
	t.Helper()
	leader := exec.Command("/bin/sleep", "1000")
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = leader.Process.Kill()
		_ = leader.Wait() // it was killed
	})
	client, err := varlink.Dial(t.Context(), machineapi.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // nothing is written any more
	more["name"], more["class"], more["leader"] = name, "vm", leader.Process.Pid
	if _, err := client.Call(t.Context(), "io.systemd.Machine.Register", more, nil); err != nil {
		t.Fatal(err)
	}
}

func TestVirtualMachinesOverSSH(t *testing.T) {
	ownhost.Daemons(t, []string{"machined"})
	registerVM(t, "vm", map[string]any{"sshAddress": "vsock/4711", "sshPrivateKeyPath": "/key"})
	registerVM(t, "closed", map[string]any{"controlAddress": "/run/absent"})
	program := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(program, []byte(standInForSSH), 0o755); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) (string, int, error) {
		tool, stdout := toolFor(t)
		tool.Getenv = func(name string) string { return map[string]string{"SYSTEMD_SSH": program}[name] }
		tool.Quiet = true
		err := run(context.WithoutCancel(t.Context()), tool.Console, args)
		status := 0
		if exit, ok := errors.AsType[*cli.Exit](err); ok {
			status, err = exit.Status, exit.Err
		}
		return stdout(), status, err
	}
	for _, test := range []struct {
		args   []string
		out    string
		status int
	}{
		{[]string{"exec", "vm", "sh", "-c", "echo it\\'s \"$0\"; exit 7", "a  b"}, "it's a  b\n", 7},
		{[]string{"--working-directory=/usr", "exec", "-E", "X=a b", "vm", "sh", "-c", "pwd; echo $X"}, "/usr\na b\n", 0},
		{[]string{"shell", "-E", "X=a b", "joe@vm", "/bin/sh", "-c", "echo $X $TERM"}, "a b dumb\n", 0},
		{[]string{"login", "vm"}, "login:\n", 0},
	} {
		out, status, err := do(test.args...)
		if out != test.out || status != test.status || err != nil {
			t.Errorf("%q: %q, status %d, %v", test.args, out, status, err)
		}
	}
	log, err := os.ReadFile(program + ".log")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-i /key", "-l root -- vsock/4711 exec login", "-l joe -- vsock/4711", "ProxyCommand=" + sshProxy + " %h %p", "-T -a -x",
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("ssh was not called with %q:\n%s", want, log)
		}
	}
	for _, verb := range [][]string{{"shell", "closed"}, {"login", "closed"}, {"exec", "closed", "true"}} {
		if _, _, err := do(verb...); err == nil || !strings.Contains(err.Error(), "without an ssh address and key") {
			t.Errorf("%q: %v", verb, err)
		}
	}
	if _, _, err := do("poweroff", "closed"); err == nil || !strings.Contains(err.Error(), "what controls machine 'closed'") {
		t.Errorf("poweroff by a control socket that is not there: %v", err)
	}
	for _, verb := range []string{"pause", "resume"} {
		if _, _, err := do(verb, "vm"); err == nil || !strings.Contains(err.Error(), "no control socket") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if _, _, err := do("forget", "closed"); err != nil {
		t.Error(err)
	}
	if _, _, err := do("forget", "closed"); err == nil || !strings.Contains(err.Error(), "no machine 'closed' known") {
		t.Errorf("forget twice: %v", err)
	}
	// What else there is to be done needs an inside that this kernel knows.
	for _, verb := range [][]string{{"copy-to", "vm", "/etc/hostname", "/x"}, {"copy-from", "vm", "/x", "/y"}, {"bind", "vm", "/usr"}} {
		if _, _, err := do(verb...); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("%q: %v", verb, err)
		}
	}
}

// The software that registers a machine chooses its address, and ssh gives that
// to a shell.
func TestAddressesThatAreNone(t *testing.T) {
	m := machineapi.Machine{Name: "vm", SSHPrivateKeyPath: "/key"}
	for _, address := range []string{
		"-oProxyCommand=x", "a b", "vsock/3;id", "vsock/$(id)", "unix/`id`", "vsock/", "root@host", "ssh://host", "host\n", "%h", "",
	} {
		m.SSHAddress = address
		if args, err := sshArgs(m, "", "x"); err == nil {
			t.Errorf("%q: %q", address, args)
		}
	}
	for _, address := range []string{"vsock/3", "unix/run/a.socket", "vsock-mux/run/x/y_1", "10.0.0.2", "fe80::1%eth0", "host-1.example"} {
		m.SSHAddress = address
		if _, err := sshArgs(m, "", "x"); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}
