package cgroup2

import (
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/fixtures/await"
	"berth/machined"
	"berth/machined/units/unitstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a backend in a part of the tree of its own.
func open(t *testing.T) machined.Units { return openAt(t, testBase(t)) }

func testBase(t *testing.T) string {
	t.Helper()
	tree, err := Find()
	if err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	dir, err := os.MkdirTemp(tree.Mount, "berth-test-")
	if err != nil {
		t.Skip("NOT TESTED: cannot write to the cgroup2 tree: ", err)
	}
	t.Cleanup(func() {
		// Whatever a failed test left must not stay on the machine.
		if _, err := tree.kill(dir, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		var err error
		removed := await.Met(time.Minute, func() bool {
			err = removeTree(dir)
			return err == nil
		})
		if !removed {
			t.Error(err)
		}
	})
	return filepath.Join(tree.Root, filepath.Base(dir))
}

func openAt(t *testing.T, base string) *Backend {
	t.Helper()
	b, err := New(Options{Base: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return b
}

func TestConformance(t *testing.T) {
	unitstest.Run(t, open)
	unitstest.RunFollow(t, func(t *testing.T) (machined.Units, unitstest.Join) {
		base := testBase(t)
		b := openAt(t, base)
		return b, func(t *testing.T, unit string, p *machined.Process) {
			t.Helper()
			dir, _ := b.tree.dir(path.Join(base, "system.slice", unit))
			if err := errors.Join(os.MkdirAll(dir, 0o755), move(dir, p)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func sleeper(t *testing.T) *machined.Process {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := machined.OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		_ = p.Close()
	})
	return p
}

// Whatever watches machine.slice by its names, such as netdata, finds the
// directory that a service manager would make.
func TestPlaceOfAUnit(t *testing.T) {
	base := testBase(t)
	b := openAt(t, base)
	p := sleeper(t)
	unit, err := b.StartScope(t.Context(), machined.Scope{Unit: machined.ScopeName("foo-bar"), Leader: p})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(base, `machine.slice/machine-foo\x2dbar.scope`); unit.Cgroup != want {
		t.Errorf("cgroup %q, want %q", unit.Cgroup, want)
	}
	dir, _ := b.tree.dir(unit.Cgroup)
	if err := os.Mkdir(filepath.Join(dir, "payload"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := move(filepath.Join(dir, "payload"), p); err != nil {
		t.Fatal(err)
	}
	inside, err := b.UnitOf(t.Context(), p.PID)
	if want := (machined.Unit{Name: unit.Name, Subgroup: "payload", Cgroup: unit.Cgroup}); err != nil || inside != want {
		t.Errorf("UnitOf = %+v, %v; want %+v", inside, err, want)
	}
	other := sleeper(t)
	if err := move(dir, other); err != nil {
		t.Fatal(err)
	}
	if err := b.Kill(t.Context(), inside, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !other.Alive() {
		t.Error("a process outside of the subgroup was killed")
	}
	if err := b.Stop(t.Context(), inside, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cgroup is still there: %v", err)
	}
}

func TestNewFindsUnitsOfAnEarlierRun(t *testing.T) {
	base := testBase(t)
	first := openAt(t, base)
	p := sleeper(t)
	unit, err := first.StartScope(t.Context(), machined.Scope{Unit: machined.ScopeName("alive"), Leader: p})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(first.slice, machined.ScopeName("dead"))
	if err := os.MkdirAll(filepath.Join(empty, "payload"), 0o755); err != nil {
		t.Fatal(err)
	}
	second := openAt(t, base)
	if _, err := os.Stat(empty); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty unit is still there: %v", err)
	}
	ended := make(chan string, 1)
	t.Cleanup(second.Watch(func(name string) { ended <- name }))
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case name := <-ended:
		if name != unit.Name {
			t.Errorf("unit %s ended, want %s", name, unit.Name)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody tells that the unit ended")
	}
}

func TestForeignPlacesAreRefused(t *testing.T) {
	b := openAt(t, testBase(t))
	for _, unit := range []machined.Unit{
		{}, {Name: "../x.scope"}, {Name: "a.scope", Cgroup: "/"}, {Name: "a.scope", Cgroup: "/.."},
	} {
		if err := b.Stop(t.Context(), unit, 0); !errors.Is(err, machined.ErrInvalidArgument) {
			t.Errorf("Stop(%+v): %v", unit, err)
		}
		if err := b.Kill(t.Context(), unit, syscall.SIGKILL); !errors.Is(err, machined.ErrInvalidArgument) {
			t.Errorf("Kill(%+v): %v", unit, err)
		}
	}
	for _, name := range []string{"", "machine", "../machine-a.scope", ".scope"} {
		if _, err := b.StartService(t.Context(), machined.Service{Unit: name, Path: "/bin/true"}); !errors.Is(err, machined.ErrInvalidArgument) {
			t.Errorf("StartService(%q): %v", name, err)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	for text, want := range map[string]Hierarchy{
		"35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n":                                                {"/sys/fs/cgroup", "/"},
		"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw": {"/sys/fs/cgroup/unified", "/"},
		"1 2 0:3 /docker/a\\040b /mnt/my\\040tree rw - cgroup2 none rw\n":                                                                 {"/mnt/my tree", "/docker/a b"},
		"1 2 0:3 /part /a rw - cgroup2 c rw\n1 2 0:3 / /b rw - cgroup2 c rw\n":                                                            {"/b", "/"},
	} {
		if got, err := parseMountinfo(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("parseMountinfo(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "garbage", "1 2 3 - cgroup2", "40 31 0:37 / /x rw - cgroup cgroup2 rw"} {
		if got, err := parseMountinfo(strings.NewReader(text)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("parseMountinfo(%q) = %+v, %v", text, got, err)
		}
	}
}

func TestHierarchyDir(t *testing.T) {
	part := Hierarchy{Mount: "/sys/fs/cgroup", Root: "/docker/x"}
	for cgroup, want := range map[string]string{
		"/docker/x": "/sys/fs/cgroup", "/docker/x/machine.slice": "/sys/fs/cgroup/machine.slice", "/docker": "", "/docker/xy": "", "/docker/x/../y": "",
	} {
		if got, ok := part.dir(cgroup); ok != (want != "") || ok && got != want {
			t.Errorf("dir(%q) = %q, %v", cgroup, got, ok)
		}
	}
}
