package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"berth/cmd/internal/machineapi"
	"berth/machined"
)

// virtual returns the machine if it is a virtual one: the kernel of the host knows
// nothing of its inside, which is reached by ssh where the machine was registered
// with an address and a key.
func virtual(ctx context.Context, d daemon, name string) (*machineapi.Machine, error) {
	if name == machined.HostName {
		return nil, nil
	}
	m, err := d.Registered(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case m.Class != machined.ClassVM:
		return nil, nil
	case m.SSHAddress == "" || m.SSHPrivateKeyPath == "":
		return nil, fmt.Errorf("virtual machine '%s' was registered without an ssh address and key, so nothing can be run in it", name)
	case m.UID != 0 && int(m.UID) != os.Geteuid():
		return nil, fmt.Errorf("virtual machine '%s' is that of user %d, who also chose the key and where it leads to", name, m.UID)
	}
	return &m, nil
}

// sshProxy leads to addresses that only systemd knows, such as vsock/3.
const sshProxy = "/usr/lib/systemd/systemd-ssh-proxy"

// Addresses, of which ssh gives some to a shell. The first kind are for the proxy.
var (
	proxied = regexp.MustCompile(`^(vsock|unix|vsock-mux)/[A-Za-z0-9._/+:-]+$`)
	plain   = regexp.MustCompile(`^[A-Za-z0-9:]([A-Za-z0-9._:%-]*[A-Za-z0-9])?$`)
)

// sshArgs is the command line that runs a program of the shell in a machine.
func sshArgs(m machineapi.Machine, user, script string) ([]string, error) {
	// Nothing of ours is for the machine: neither keys nor the display.
	args := []string{"-a", "-x", "-o", "IdentitiesOnly=yes", "-i", m.SSHPrivateKeyPath}
	switch {
	case proxied.MatchString(m.SSHAddress):
		// As systemd's own settings for ssh: nobody else can be at such an address.
		args = append(args, "-o", "ProxyCommand="+sshProxy+" %h %p", "-o", "ProxyUseFdpass=yes", "-o", "CheckHostIP=no",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
	case !plain.MatchString(m.SSHAddress):
		return nil, fmt.Errorf("machine '%s' has the ssh address '%s', which is none", m.Name, m.SSHAddress)
	}
	args = append(args, "-l", cmp.Or(user, "root"), "--", m.SSHAddress)
	if script != "" {
		args = append(args, script)
	}
	return args, nil
}

// sshSession joins our terminal to one in a virtual machine.
func (t *tool) sshSession(ctx context.Context, m machineapi.Machine, s machineapi.Session) error {
	script := "exec login"
	if s.Mode == machineapi.OpenShell {
		words := append([]string{"env"}, s.Env...)
		if script = `exec ` + shellQuoted(words) + ` "${SHELL:-/bin/sh}" -l`; s.Path != "" {
			arguments := []string{s.Path}
			if len(s.Args) > 0 {
				arguments = append(arguments, s.Args[1:]...)
			}
			script = "exec " + shellQuoted(append(words, arguments...))
		}
	}
	args, err := sshArgs(m, s.User, script)
	if err != nil {
		return err
	}
	status, err := t.ssh(ctx, append([]string{"-t"}, args...))
	if err == nil && status == sshFailed {
		err = fmt.Errorf("no connection to virtual machine '%s'", m.Name)
	}
	return err
}

// sshExec runs a command in a virtual machine with our own standard streams.
func (t *tool) sshExec(ctx context.Context, m machineapi.Machine, user string, command []string) (status int, err error) {
	script := "exec " + shellQuoted(append(append([]string{"env"}, t.commandEnvironment()...), command...))
	if t.directory != "" {
		script = "cd -- " + shellQuoted([]string{t.directory}) + " && " + script
	}
	args, err := sshArgs(m, user, script)
	if err != nil {
		return 0, err
	}
	return t.ssh(ctx, append([]string{"-T"}, args...))
}

// sshFailed is the exit status of ssh when it could not do its part.
const sshFailed = 255

// ssh runs ssh, or what $SYSTEMD_SSH names in its place.
func (t *tool) ssh(ctx context.Context, args []string) (status int, err error) {
	cmd := exec.CommandContext(ctx, cmp.Or(t.Getenv("SYSTEMD_SSH"), "ssh"), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.Stdin, t.Stdout, t.Stderr
	err = cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.Exited() {
		return failed.ExitCode(), nil
	}
	if err != nil {
		err = fmt.Errorf("run ssh: %w", err)
	}
	return 0, err
}

// shellQuoted is a command line for a shell.
func shellQuoted(words []string) string {
	var out []string
	for _, word := range words {
		out = append(out, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return strings.Join(out, " ")
}
