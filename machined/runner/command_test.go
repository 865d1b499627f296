package runner

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/images/partition"
)

func itoa(n int) string { return strconv.Itoa(n) }

// fakeHost is a host whose programs and mounts are the test's.
func fakeHost(t *testing.T, mountinfo string) hostFiles {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"systemd-nspawn": 0o755, "unshare": 0o755, "mount": 0o755} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "mountinfo"), []byte(mountinfo), 0o644); err != nil {
		t.Fatal(err)
	}
	return hostFiles{
		programs: []string{filepath.Join(dir, "absent"), filepath.Join(dir, "systemd-nspawn")},
		udev:     filepath.Join(dir, "control"), mounts: filepath.Join(dir, "mountinfo"),
		tools: []string{dir}, shell: "/bin/sh", mountAt: filepath.Join(dir, "mnt"),
	}
}

const hybrid = `30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`

func TestFindNspawn(t *testing.T) {
	host := fakeHost(t, hybrid)
	n, err := host.findNspawn()
	if err != nil || n.program != host.programs[1] {
		t.Errorf("found %v, %v", n, err)
	}
	if err := os.Chmod(host.programs[1], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := host.findNspawn(); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("a file that is no program: error %v", err)
	}
}

func TestCommandUnified(t *testing.T) {
	for mountinfo, want := range map[string]bool{
		hybrid: true,
		"31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n": false,
	} {
		n, err := fakeHost(t, mountinfo).findNspawn()
		if err != nil {
			t.Fatal(err)
		}
		command, err := n.Command(Spec{Machine: "a", Directory: "/srv/a"})
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(command.Env, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"); got != want {
			t.Errorf("environment %q with mounts %q", command.Env, mountinfo)
		}
	}
}

func TestCommandRefuses(t *testing.T) {
	n, err := fakeHost(t, hybrid).findNspawn()
	if err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]Spec{
		"no name":         {Directory: "/srv/a"},
		"option as name":  {Machine: "-a", Directory: "/srv/a"},
		"slash in name":   {Machine: "a/b", Directory: "/srv/a"},
		"nothing to run":  {Machine: "a"},
		"two things":      {Machine: "a", Directory: "/srv/a", Disk: "/srv/a.raw"},
		"relative path":   {Machine: "a", Directory: "srv/a"},
		"relative disk":   {Machine: "a", Disk: "--rw.raw"},
		"null in a path":  {Machine: "a", Directory: "/srv/a\x00b"},
		"null in a name":  {Machine: "a\x00", Directory: "/srv/a"},
		"relative as opt": {Machine: "a", Directory: "-D"},
	} {
		if _, err := n.Command(spec); !errors.Is(err, ErrInvalidSpec) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestClean(t *testing.T) {
	named := t.TempDir()
	n, err := fakeHost(t, hybrid+"32 30 0:28 / "+named+" rw,relatime - cgroup cgroup rw,xattr,name=systemd\n").findNspawn()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"machine.slice/machine-a.scope/payload/init.scope", "machine.slice/machine-b.scope"} {
		if err := os.MkdirAll(filepath.Join(named, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := n.Clean(t.Context(), "/machine.slice/machine-a.scope"); err != nil {
			t.Fatal(err)
		}
	}
	// What is not empty, as a directory with a file is not, stays and is told.
	if err := os.WriteFile(filepath.Join(named, "machine.slice/machine-b.scope/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.Clean(t.Context(), "/machine.slice/machine-b.scope"); err == nil {
		t.Error("a group that cannot be removed is not reported")
	}
	left, err := filepath.Glob(filepath.Join(named, "machine.slice/*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "machine-b.scope" {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, path := range []string{"", "/", "/..", "/machine.slice/../..", "machine.slice"} {
		if err := n.Clean(t.Context(), path); !errors.Is(err, ErrInvalidSpec) {
			t.Errorf("%q: error %v", path, err)
		}
	}
}

func TestDiskWithoutTools(t *testing.T) {
	host := fakeHost(t, hybrid)
	n, err := host.findNspawn()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(host.tools[0], "mount")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Command(Spec{Machine: "a", Disk: "/srv/a.raw"}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("without mount(8): error %v", err)
	}
}

func TestDiskOfReadOnlyMachine(t *testing.T) {
	options := strings.Join(rootFS{Extent: partition.Extent{Offset: 1 << 20, Size: 2 << 20}}.mountOptions(true), ",")
	if options != "loop,ro,nodev,offset=1048576,sizelimit=2097152" {
		t.Errorf("mount options %s", options)
	}
}
