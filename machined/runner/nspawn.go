package runner

import (
	"fmt"
	"os"
	"path/filepath"
)

// Nspawn runs machines with systemd-nspawn, to the meaning of the stock
// systemd-nspawn@.service. Systemd need not be PID 1.
type Nspawn struct {
	program string
	files   hostFiles
}

var _ Runner = (*Nspawn)(nil)

// hostFiles are the places of the host that decide what nspawn can do.
type hostFiles struct {
	programs []string // where systemd-nspawn may be
	udev     string   // control socket of the device manager
	mounts   string   // mount table
	tools    []string // where unshare and mount may be
	shell    string
	mountAt  string // where a disk is mounted, in a mount namespace of its own
}

var systemFiles = hostFiles{
	programs: []string{"/usr/bin/systemd-nspawn", "/bin/systemd-nspawn"},
	udev:     "/run/udev/control",
	mounts:   "/proc/self/mountinfo",
	tools:    []string{"/usr/bin", "/bin"},
	shell:    "/bin/sh",
	mountAt:  "/run/systemd/nspawn/disk",
}

// FindNspawn returns the runner when the host has systemd-nspawn, looked for in
// the system's directories and never in PATH; else ErrNotInstalled.
func FindNspawn() (*Nspawn, error) { return systemFiles.findNspawn() }

func (h hostFiles) findNspawn() (*Nspawn, error) {
	program, ok := firstExecutable(h.programs)
	if !ok {
		return nil, fmt.Errorf("find systemd-nspawn: %w", ErrNotInstalled)
	}
	return &Nspawn{program: program, files: h}, nil
}

// Name implements Runner.
func (n *Nspawn) Name() string { return "systemd-nspawn" }

// Command implements Runner.
//
// What it found to be so with systemd-nspawn 252 and a Debian guest on a host
// with another PID 1:
//   - The stock options bring the guest to "running"; nothing of what nested
//     hosts need (writable API file systems, seccomp off) is needed here.
//   - SIGRTMIN+4 to the leader powers off (exit status 0), SIGINT reboots
//     (ExitReboot). Killing nspawn alone leaves the guest running without it,
//     keeps its lock taken and blocks its name: only the control group ends it.
//   - nspawn makes the control groups "supervisor" and "payload" below its own,
//     and on a hybrid host the same path once more in the named v1 hierarchy at
//     /sys/fs/cgroup/systemd. It removes neither; for the latter see Clean.
func (n *Nspawn) Command(spec Spec) (Command, error) {
	if err := spec.check(); err != nil {
		return Command{}, err
	}
	argv := append([]string{n.program}, options...)
	argv = append(argv, "--machine="+spec.Machine)
	if spec.ReadOnly {
		argv = append(argv, "--read-only")
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	unified, err := findMount(n.files.mounts, mountEntry.isUnified)
	if err != nil {
		return Command{}, err
	}
	if unified != "" {
		// Else nspawn decides by what /sys/fs/cgroup is on the host and gives
		// the guest of a hybrid host controllers that it cannot use.
		env = append(env, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	}
	switch {
	case spec.Directory != "":
		argv = append(argv, "--directory="+spec.Directory)
	case n.hasUdev():
		argv = append(argv, "--image="+spec.Disk)
	default:
		argv, err = n.mounted(argv, spec)
		if err != nil {
			return Command{}, err
		}
	}
	return Command{Argv: argv, Env: env}, nil
}

// options are the stock unit's, except:
//   - --register=no, because whoever starts the command knows its leader and
//     registers it, and a host's own daemon may not be there or not be ours;
//   - --link-journal=no, because without journald on the host the link in
//     /var/log/journal would have no reader and would outlive the machine;
//   - --console=read-only, because there is no terminal: the guest has one to
//     log in on, the host gets what it prints.
//
// The virtual link stays although no networkd configures its end on the host:
// the guest has a network of its own, and a .nspawn file can say otherwise.
// Readiness is the start of the guest's init, as in the stock unit, since an
// init that is not systemd would never say more.
var options = []string{
	"--quiet", "--keep-unit", "--register=no", "--boot", "--link-journal=no",
	"--network-veth", "-U", "--settings=override", "--console=read-only",
}

// hasUdev reports whether --image can work: nspawn refuses disks on hosts
// without a device manager, even if it would not need it.
func (n *Nspawn) hasUdev() bool {
	info, err := os.Stat(n.files.udev)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

func firstExecutable(paths []string) (string, bool) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, true
		}
	}
	return "", false
}

func (h hostFiles) tool(name string) (string, error) {
	paths := make([]string, 0, len(h.tools))
	for _, dir := range h.tools {
		paths = append(paths, filepath.Join(dir, name))
	}
	path, ok := firstExecutable(paths)
	if !ok {
		return "", fmt.Errorf("find %s: %w", name, ErrUnsupported)
	}
	return path, nil
}
