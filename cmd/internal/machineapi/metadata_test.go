package machineapi_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/machineapi"
	"berth/machined"

	"github.com/godbus/dbus/v5"
)

// namespaced starts a process that unshare gives namespaces.
func namespaced(t *testing.T, args ...string) int {
	t.Helper()
	program, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("NOT TESTED: needs unshare")
	}
	cmd := exec.CommandContext(t.Context(), program, append(args, "/bin/sh", "-c", "echo up; exec sleep 1000")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Skipf("NOT TESTED: no namespaces: %q, %v", line, err)
	}
	return cmd.Process.Pid
}

func TestMetadataOverVarlink(t *testing.T) {
	auth := &asked{}
	h := newVarlinkHost(t, auth)
	boot(t, h.manager, "guest")
	boot(t, h.manager, "bare")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close() //nolint:errcheck // of a test
	if _, err := h.client.Exec(t.Context(), "bare", machineapi.Command{Argv: []string{"rm", "/etc/os-release"}}, null, null, null); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]map[string]any{
		"vm": {"class": "vm", "leader": h.leader(), "sshAddress": "vsock/7", "sshPrivateKeyPath": "/key"}, "shared": {"class": "container", "leader": h.leader()},
		"mapped": {"class": "container", "leader": namespaced(t, "--user", "--map-root-user", "--net")},
	} {
		in["name"] = name
		if err := h.register(in); err != nil {
			t.Fatal(err)
		}
	}
	strict := func(name string) map[string]any { return map[string]any{"name": name, "acquireMetadata": "yes"} }
	for name, want := range map[string]string{
		"bare": "NoOSReleaseInformation", "vm": "NotAvailable", "shared": "NoPrivateNetworking", "mapped": "NoUIDShift",
	} {
		h.wireFails("List", strict(name), "io.systemd.Machine."+want)
	}
	for _, name := range []string{"guest", ".host"} {
		var got machineapi.Machine
		if _, err := h.wire("List", strict(name), &got); err != nil || len(got.OSRelease) == 0 || got.UIDShift == nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		auth.want(t, "inspect-machines machine="+name+" name="+name+" verb=get_os_release")
	}
	var got machineapi.Machine
	if _, err := h.wire("List", map[string]any{"name": "bare", "acquireMetadata": "graceful"}, &got); err != nil || len(got.OSRelease) != 0 || got.UIDShift == nil {
		t.Errorf("as far as it gets: %+v, %v", got, err)
	}
	if _, err := h.wire("List", map[string]any{"name": "vm", "acquireMetadata": "graceful"}, &got); err != nil || got.SSHAddress != "vsock/7" || got.SSHPrivateKeyPath != "/key" {
		t.Errorf("virtual machine: %+v, %v", got, err)
	}
}

func TestSSHInfoOverTheBus(t *testing.T) {
	h := newBusHost(t)
	register := func(name string, pairs ...any) {
		t.Helper()
		p, err := machined.OpenProcess(int(newLeader(t, 0).pid()))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close() //nolint:errcheck // of a test
		all := append([]any{"Class", "vm", "LeaderPID", uint32(p.PID), "LeaderPIDFDID", p.PIDFDID}, pairs...)
		get[dbus.ObjectPath](h, "RegisterMachineEx", name, properties(all...))
	}
	register("both", "SSHAddress", "vsock/7", "SSHPrivateKeyPath", "/key")
	register("half", "SSHAddress", "vsock/7")
	var address, key string
	for _, call := range []*dbus.Call{h.call("GetMachineSSHInfo", "both"), h.ofMachine("both", "GetSSHInfo")} {
		if err := call.Store(&address, &key); err != nil || address != "vsock/7" || key != "/key" {
			t.Errorf("%s: %q, %q, %v", call.Method, address, key, err)
		}
	}
	const absent = "org.freedesktop.DBus.Error.FileNotFound"
	h.fails(h.call("GetMachineSSHInfo", "half"), absent)
	h.fails(h.call("GetMachineSSHInfo", ".host"), absent)
	for _, method := range []string{"GetMachineAddresses", "GetMachineOSRelease", "GetMachineUIDShift"} {
		h.fails(h.call(method, "both"), bus.ErrorNotSupported)
	}
}

func TestPlantedOSReleaseOverTheBus(t *testing.T) {
	h := newBusHost(t)
	boot(t, h.manager, "berth-planted")
	source := t.TempDir() + "/link"
	for _, target := range []string{"/proc/1/root/etc/os-release", strings.Repeat("../", 10) + "var/tmp/absent", "/dev/null"} {
		if out, err := exec.CommandContext(t.Context(), "ln", "-sfn", target, source).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		h.do("CopyToMachineWithFlags", "berth-planted", source, "/etc/os-release", uint64(1))
		if call := h.call("GetMachineOSRelease", "berth-planted"); call.Err == nil {
			t.Errorf("os-release that is a link to %s: %v", target, call.Body)
		}
	}
}
