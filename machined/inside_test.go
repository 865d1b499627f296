package machined

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/await"
	"berth/fixtures/guest/guesttest"
	"berth/images"
	"berth/machined/nsenter"
	"berth/machined/runner"
)

// registered is a manager with a machine.
type registered struct {
	*Manager
	name string
}

// bootGuest starts the minimal guest and registers it with a manager that has
// no other machine but the host. Further arguments go to systemd-nspawn.
func bootGuest(t *testing.T, name string, args ...string) registered {
	t.Helper()
	return bootTree(t, name, guesttest.Minimal(t), args...)
}

// sharedUsers is for a guest without a user namespace of its own.
const sharedUsers = "--private-users=no"

func bootTree(t *testing.T, name, tree string, args ...string) registered {
	t.Helper()
	nspawn, err := runner.FindNspawn()
	if errors.Is(err, runner.ErrNotInstalled) {
		t.Skip("NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	command, err := nspawn.Command(runner.Spec{Machine: name, Directory: tree})
	if err != nil {
		t.Fatal(err)
	}
	return managerOf(t, name, guesttest.Start(t, append(command.Argv, args...), command.Env).Leader)
}

// managerOf returns a manager with the host and one container.
func managerOf(t *testing.T, name string, leader int) registered {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	dir := t.TempDir()
	m, err := New(Config{
		StateDir: filepath.Join(dir, "machines"), RunDir: filepath.Join(dir, "run"), LogDir: filepath.Join(dir, "log"), Host: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = m.Register(t.Context(), Caller{PID: os.Getpid()}, Registration{
		Name: name, Class: ClassContainer, Leader: ProcessRef{ProcessID: ProcessID{PID: leader}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return registered{m, name}
}

// change alters a registered machine as no caller could.
func (r registered) change(f func(*Machine)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.table.byName[r.name].Machine)
}

// leader is the pid of the machine's leader.
func (r registered) leader(t *testing.T) int {
	t.Helper()
	machine, err := r.Find(r.name)
	if err != nil {
		t.Fatal(err)
	}
	return machine.Leader.PID
}

// hostProcess is a process that shares all namespaces of the host.
func hostProcess(t *testing.T) int {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // Wait tells
		cmd.Wait()         //nolint:errcheck // it was killed
	})
	return cmd.Process.Pid
}

// runIn runs a shell script in the machine and returns its output.
func runIn(t *testing.T, m registered, script string) (string, ExecResult) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // of a test
	result, err := m.Exec(t.Context(), m.name, ExecRequest{Argv: []string{"sh", "-c", script}, Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(io.NewSectionReader(out, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), result
}

func TestExecInMachine(t *testing.T) {
	m := bootGuest(t, "berth-exec")
	if out, result := runIn(t, m, "echo $container; exit 7"); out != "systemd-nspawn\n" || result.ExitCode != 7 {
		t.Errorf("%q, %+v", out, result)
	}
	_, err := m.Exec(t.Context(), m.name, ExecRequest{Argv: []string{"absent"}})
	if !errors.Is(err, nsenter.ErrCommandNotFound) || !strings.Contains(err.Error(), "berth-exec") {
		t.Errorf("absent command: %v", err)
	}
}

func TestExecRefusals(t *testing.T) {
	m := managerOf(t, "shared", hostProcess(t))
	request := ExecRequest{Argv: []string{"true"}}
	m.change(func(machine *Machine) { machine.UID = 1000 })
	if _, err := m.Exec(t.Context(), m.name, request); !errors.Is(err, ErrUnsafeMachine) {
		t.Errorf("a user's machine in the host's user namespace: %v", err)
	}
	m.change(func(machine *Machine) { machine.UID, machine.Class = 0, ClassVM })
	if _, err := m.Exec(t.Context(), m.name, request); !errors.Is(err, ErrNotSupported) {
		t.Errorf("a virtual machine: %v", err)
	}
	if _, err := m.Exec(t.Context(), "absent", request); !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("no machine: %v", err)
	}
}

func TestExecInUsersMachineWithUserNamespace(t *testing.T) {
	m := managerOf(t, "owned", asUser(t, "unshare", "--user", "--map-root-user", "/bin/sh", "-c", obey).PID)
	m.change(func(machine *Machine) { machine.UID = plainUser })
	if machine, err := m.Find(m.name); err != nil || m.SafeToEnter(t.Context(), machine) != nil {
		t.Errorf("his own: %v, %v", err, m.SafeToEnter(t.Context(), machine))
	}
}

// A process of a user may be in a user namespace that root made, such as that of
// a service with PrivateUsers=, where root is the host's.
func TestNobodyGetsIntoNamespacesOfOthers(t *testing.T) {
	users := []syscall.SysProcIDMap{{Size: 1}, {ContainerID: plainUser, HostID: plainUser, Size: 1}}
	p := shellIn(t, obey, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: users, GidMappings: users,
		Credential: &syscall.Credential{Uid: plainUser, Gid: plainUser},
	})
	m := managerOf(t, "service", p.PID)
	m.change(func(machine *Machine) { machine.UID = plainUser })
	if _, err := m.Exec(t.Context(), m.name, ExecRequest{Argv: []string{"true"}}); !errors.Is(err, ErrUnsafeMachine) {
		t.Errorf("command: %v", err)
	}
	if _, err := m.OpenShell(t.Context(), m.name, ShellRequest{}); !errors.Is(err, ErrUnsafeMachine) {
		t.Errorf("shell: %v", err)
	}
}

func TestExecOnHost(t *testing.T) {
	host := registered{managerOf(t, "other", hostProcess(t)).Manager, HostName}
	if out, _ := runIn(t, host, "readlink /proc/self/ns/mnt"); out != readlink(t, "/proc/self/ns/mnt")+"\n" {
		t.Errorf("mount namespace %q", out)
	}
}

func readlink(t *testing.T, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestAddresses(t *testing.T) {
	m := bootGuest(t, "berth-addr")
	// No duplicates are looked for on lo. On host0 they are, and that cannot end
	// while nobody has set the other end up, so its address stays tentative.
	script := strings.Join([]string{
		"set -e",
		"ip link set lo up", // the guest's init may not have come to that
		"ip link set host0 up",
		"ip addr add 10.99.0.9/24 dev host0",
		"ip addr add 10.97.0.2/24 dev host0 scope link",
		"ip addr add 10.99.0.5 peer 10.99.0.6 dev host0",
		"ip addr add 10.96.0.66/24 dev host0 scope host",
		"ip addr add 10.98.0.1/24 dev lo",
		"ip addr add fd00:99::6/64 dev host0",
		"ip addr add fe80::99/64 dev lo scope link",
		"ip addr add fd00:99::7/64 dev lo",
		"cat /sys/class/net/host0/ifindex",
	}, "\n")
	out, result := runIn(t, m, script)
	if result.ExitCode != 0 {
		t.Fatalf("configure the guest: %+v: %s", result, out)
	}
	host0 := strings.TrimSpace(out)
	want := []string{"10.98.0.1 1", "10.99.0.5 " + host0, "10.99.0.9 " + host0, "10.97.0.2 " + host0, "fd00:99::7 1", "fe80::99 1"}
	// The kernel lets no address of IPv6 be tentative for no time at all, not even
	// on lo: what decides that is work for later.
	var got []string
	settled := await.Met(patience, func() bool {
		list, err := m.Addresses(t.Context(), m.name)
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, a := range list {
			got = append(got, a.IP.String()+" "+strconv.Itoa(a.Interface))
		}
		return slices.Equal(got, want)
	})
	if !settled {
		t.Errorf("addresses %q, want %q", got, want)
	}
}

func TestAddressesRefusals(t *testing.T) {
	m := managerOf(t, "shared", hostProcess(t))
	if _, err := m.Addresses(t.Context(), m.name); !errors.Is(err, ErrNoPrivateNetworking) {
		t.Errorf("the host's network: %v", err)
	}
	m.change(func(machine *Machine) { machine.Class = ClassVM })
	if _, err := m.Addresses(t.Context(), m.name); !errors.Is(err, ErrNotSupported) {
		t.Errorf("a virtual machine: %v", err)
	}
	if _, err := m.Addresses(t.Context(), HostName); err != nil {
		t.Errorf("the host: %v", err)
	}
}

func TestOSRelease(t *testing.T) {
	m := bootGuest(t, "berth-release")
	fields, err := m.OSRelease(t.Context(), m.name)
	if err != nil {
		t.Fatal(err)
	}
	if len(fields) < 3 || fields[0] != (images.KeyValue{Key: "NAME", Value: "Minimal Guest"}) || fields[2].Value != "minimal" {
		t.Errorf("fields %q", fields)
	}
	// Only the second place, and there a link to the host's.
	runIn(t, m, "rm /etc/os-release; mkdir -p /usr/lib; ln -sf ../../../../../etc/os-release /usr/lib/os-release")
	if _, err := m.OSRelease(t.Context(), m.name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link out of the machine: %v", err)
	}
	runIn(t, m, "rm /usr/lib/os-release; echo ID=second > /usr/lib/os-release")
	if fields, err := m.OSRelease(t.Context(), m.name); err != nil || len(fields) != 1 || fields[0].Value != "second" {
		t.Errorf("second place: %q, %v", fields, err)
	}
}

func TestUIDShift(t *testing.T) {
	m := bootGuest(t, "berth-shift")
	shift, err := m.UIDShift(t.Context(), m.name)
	if err != nil || shift < 65536 {
		t.Errorf("a machine with a user namespace: %d, %v", shift, err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/"+strconv.Itoa(m.leader(t)), &st); err != nil || st.Uid != shift {
		t.Errorf("its root is user %d of the host (%v), not %d", st.Uid, err, shift)
	}
	shared := managerOf(t, "shared", hostProcess(t))
	if shift, err := shared.UIDShift(t.Context(), "shared"); err != nil || shift != 0 {
		t.Errorf("a machine without one: %d, %v", shift, err)
	}
	if shift, err := m.UIDShift(t.Context(), HostName); err != nil || shift != 0 {
		t.Errorf("the host: %d, %v", shift, err)
	}
}

func TestShiftBetween(t *testing.T) {
	const plain = "         0     524288      65536\n"
	for name, c := range map[string]struct {
		uids, gids string
		shift      uint32
		ok         bool
	}{
		"none":       {"", "", 0, false},
		"identity":   {"0 0 4294967295\n", "0 0 4294967295\n", 0, true},
		"shifted":    {plain, plain, 524288, true},
		"just":       {"0 7 65534\n", "0 7 65534\n", 7, true},
		"too few":    {"0 7 65533\n", "0 7 65533\n", 0, false},
		"not from 0": {"1 7 65536\n", "1 7 65536\n", 0, false},
		"two lines":  {plain + plain, plain + plain, 0, false},
		"unlike":     {plain, "0 0 65536\n", 0, false},
		"only users": {plain, "", 0, false},
	} {
		uids, err := parseIDMap(c.uids)
		if err != nil {
			t.Fatal(err)
		}
		gids, err := parseIDMap(c.gids)
		if err != nil {
			t.Fatal(err)
		}
		shift, err := shiftBetween(uids, gids)
		if c.ok && (err != nil || shift != c.shift) || !c.ok && !errors.Is(err, ErrNotSupported) {
			t.Errorf("%s: %d, %v", name, shift, err)
		}
	}
}

func TestInsideOfAnEndedMachine(t *testing.T) {
	m := bootGuest(t, "berth-ended")
	if err := syscall.Kill(m.leader(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Until(t, patience, "the machine to be gone", func() bool {
		_, err := m.OSRelease(t.Context(), m.name)
		return errors.Is(err, ErrNoSuchMachine)
	})
	if _, err := m.UIDShift(t.Context(), m.name); !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("uid shift: %v", err)
	}
	if _, err := m.Addresses(t.Context(), m.name); !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("addresses: %v", err)
	}
}
