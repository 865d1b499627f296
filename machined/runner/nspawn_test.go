package runner

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/fixtures/diskimage"
	"berth/fixtures/guest/guesttest"
)

// nspawn returns the runner of this host.
func nspawn(t *testing.T) *Nspawn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	n, err := FindNspawn()
	if errors.Is(err, ErrNotInstalled) {
		t.Skip("NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start boots a spec and sees to it that nothing but the tree is left behind.
func start(t *testing.T, spec Spec) *guesttest.Machine {
	t.Helper()
	t.Cleanup(func() { checkNothingLeft(t, spec) })
	command, err := nspawn(t).Command(spec)
	if err != nil {
		t.Fatal(err)
	}
	return guesttest.Start(t, command.Argv, command.Env)
}

func checkNothingLeft(t *testing.T, spec Spec) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if path := spec.Directory + spec.Disk; strings.Contains(string(mounts), path) {
		t.Errorf("%s is still mounted", path)
	}
	// The kernel takes a network namespace and a loop device down in its own
	// time after the last process.
	until(t, "network link to vanish", func() bool {
		_, err := net.InterfaceByName("ve-" + spec.Machine)
		return err != nil
	})
	until(t, "loop device to vanish", func() bool {
		files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(files, func(file string) bool {
			backing, err := os.ReadFile(file)
			return err == nil && strings.TrimSpace(string(backing)) == spec.Disk
		})
	})
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	if !await.Met(time.Minute, done) {
		t.Errorf("waited in vain for %s", what) // others look at what is left
	}
}

func TestPowerOff(t *testing.T) {
	m := start(t, Spec{Machine: "berth-off", Directory: guesttest.Minimal(t)})
	until(t, "the guest's init", func() bool { return strings.Contains(m.Console(), "minimal guest: up") })
	if err := syscall.Kill(m.Leader, 38); err != nil { // SIGRTMIN+4
		t.Fatal(err)
	}
	if got := m.Wait(t); got != 0 {
		t.Errorf("exit status %d after power-off; console:\n%s", got, m.Console())
	}
}

func TestReboot(t *testing.T) {
	m := start(t, Spec{Machine: "berth-reboot", Directory: guesttest.Minimal(t)})
	until(t, "the guest's init", func() bool { return strings.Contains(m.Console(), "minimal guest: up") })
	if err := syscall.Kill(m.Leader, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := m.Wait(t); got != ExitReboot {
		t.Errorf("exit status %d after reboot, want %d; console:\n%s", got, ExitReboot, m.Console())
	}
}

func TestKilledMachineCanStartAgain(t *testing.T) {
	spec := Spec{Machine: "berth-again", Directory: guesttest.Minimal(t)}
	first := start(t, spec)
	first.Kill(t)
	first.Wait(t)
	if err := nspawn(t).Clean(t.Context(), "/"+filepath.Base(first.Cgroup)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join("/sys/fs/cgroup/systemd", filepath.Base(first.Cgroup))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("control groups in the named hierarchy: %v", err)
	}
	until(t, "first leader to end", func() bool { return errors.Is(syscall.Kill(first.Leader, 0), syscall.ESRCH) })
	until(t, "first link to vanish", func() bool {
		_, err := net.InterfaceByName("ve-" + spec.Machine)
		return err != nil
	})
	start(t, spec)
}

func TestReadOnly(t *testing.T) {
	dir := guesttest.Minimal(t)
	m := start(t, Spec{Machine: "berth-ro", Directory: dir, ReadOnly: true})
	info, err := os.ReadFile(filepath.Join("/proc", itoa(m.Leader), "mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if fields := strings.Fields(line); fields[4] == "/" && !strings.HasPrefix(fields[5], "ro") {
			t.Errorf("root of a read-only machine: %s", line)
		}
	}
}

func TestUserNamespace(t *testing.T) {
	m := start(t, Spec{Machine: "berth-userns", Directory: guesttest.Minimal(t)})
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	its, err := os.Readlink(filepath.Join("/proc", itoa(m.Leader), "ns/user"))
	if err != nil {
		t.Fatal(err)
	}
	if its == own {
		t.Errorf("the guest's root is the host's (%s)", own)
	}
}

func TestDisk(t *testing.T) {
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		t.Skip("NOT TESTED: no mke2fs on this host (Debian package e2fsprogs)")
	}
	tree := guesttest.Minimal(t)
	for _, layout := range []string{"whole", "gpt"} {
		t.Run(layout, func(t *testing.T) {
			disk := filepath.Join(filepath.Dir(tree), layout+".raw")
			offset, err := diskimage.Create(disk, layout == "gpt")
			if err != nil {
				t.Fatal(err)
			}
			//nolint:gosec // arguments are the test's own
			out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-t", "ext4", "-E", "offset="+itoa(offset), "-d", tree, disk, "24M").CombinedOutput()
			if err != nil {
				t.Fatalf("mke2fs: %v: %s", err, out)
			}
			m := start(t, Spec{Machine: "berth-disk", Disk: disk})
			until(t, "the guest's init", func() bool { return strings.Contains(m.Console(), "minimal guest: up") })
			m.Kill(t)
			m.Wait(t)
		})
	}
}

func TestDisksSideBySide(t *testing.T) {
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		t.Skip("NOT TESTED: no mke2fs on this host (Debian package e2fsprogs)")
	}
	tree := guesttest.Minimal(t)
	var disks [2]string
	for i := range disks {
		disks[i] = filepath.Join(filepath.Dir(tree), itoa(i)+".raw")
		//nolint:gosec // arguments are the test's own
		out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-t", "ext4", "-d", tree, disks[i], "24M").CombinedOutput()
		if err != nil {
			t.Fatalf("mke2fs: %v: %s", err, out)
		}
	}
	start(t, Spec{Machine: "berth-disk-a", Disk: disks[0]})
	start(t, Spec{Machine: "berth-disk-b", Disk: disks[1]})

	again, err := nspawn(t).Command(Spec{Machine: "berth-disk-c", Disk: disks[0]})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), again.Argv[0], again.Argv[1:]...)
	cmd.Env = again.Env
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "busy") {
		t.Errorf("a disk that is in use: %v: %s", err, out)
	}
}

func TestDebianRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: boots a Debian guest, not in -short")
	}
	m := start(t, Spec{Machine: "berth-debian", Directory: guesttest.Debian(t)})
	until(t, "a login prompt", func() bool { return strings.Contains(m.Console(), "login:") })
	if err := syscall.Kill(m.Leader, 38); err != nil {
		t.Fatal(err)
	}
	if got := m.Wait(t); got != 0 {
		t.Errorf("exit status %d after power-off; console:\n%s", got, m.Console())
	}
}
