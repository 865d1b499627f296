package machined_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/fixtures/killat"
	"berth/images"
	"berth/machined"
	"berth/machined/units/cgroup2"
)

// Names of what a child gets to know by its environment.
const (
	crashRoot   = "BERTH_TEST_CRASH_ROOT"
	crashBase   = "BERTH_TEST_CRASH_BASE" // of its cgroups
	crashCase   = "BERTH_TEST_CRASH_CASE"
	crashLeader = "BERTH_TEST_CRASH_LEADER"
)

// crashHost is a place that a daemon works in until it is killed.
type crashHost struct {
	root, run, cgroup string
	base              string // of the cgroups, from the root of their tree
	leader            *exec.Cmd
}

func newCrashHost(t *testing.T) *crashHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root to make a PID namespace")
	}
	tree, err := cgroup2.Find()
	if err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	h := &crashHost{root: t.TempDir()}
	if h.cgroup, err = os.MkdirTemp(tree.Mount, "berth-test-"); err != nil {
		t.Skip("NOT TESTED: cannot write to the cgroup2 tree: ", err)
	}
	h.base = filepath.Join(tree.Root, filepath.Base(h.cgroup))
	t.Cleanup(func() {
		_ = os.Remove(filepath.Join(h.cgroup, "machine.slice")) // it may not have come to that
		if err := os.Remove(h.cgroup); err != nil {
			t.Error(err)
		}
	})
	if h.run, err = os.MkdirTemp("/tmp", "berth-"); err != nil { // sockets need a short path
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(h.run); err != nil {
			t.Error(err)
		}
	})
	image := filepath.Join(h.root, "var/lib/machines/foo")
	if err := errors.Join(os.MkdirAll(image, 0o755), os.WriteFile(filepath.Join(image, "init"), []byte(guest), 0o755)); err != nil {
		t.Fatal(err)
	}
	h.leader = exec.Command("/bin/sleep", "1000")
	if err := h.leader.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.leader.Process.Kill()
		_ = h.leader.Wait() // it was killed
	})
	return h
}

func crashConfig(root, run string, units machined.Units) machined.Config {
	places := images.SystemLocations(root)
	places.Host = false
	return machined.Config{
		StateDir: filepath.Join(root, "state"), RunDir: run, LogDir: filepath.Join(root, "log"),
		Units: units, Images: images.NewStore(places), Runner: testRunner{"boot"},
		// The init of a guest that is not up yet does not hear SIGTERM.
		StopGrace: 100 * time.Millisecond,
	}
}

// crashOrders are what a daemon is killed in.
var crashOrders = map[string]func(t *testing.T, m *machined.Manager, root string) error{
	"start": func(t *testing.T, m *machined.Manager, _ string) error {
		_, err := m.Start(t.Context(), machined.Caller{}, machined.StartRequest{Name: "foo"})
		return err
	},
	"register and unregister": func(t *testing.T, m *machined.Manager, _ string) error {
		return errors.Join(registerSleeper(t, m), m.Unregister(t.Context(), "foo"))
	},
	"copy": func(t *testing.T, m *machined.Manager, root string) error {
		return errors.Join(registerSleeper(t, m), m.CopyTo(t.Context(), "foo", copyOf(root)))
	},
}

// registerSleeper makes a container of the process that the environment names.
func registerSleeper(t *testing.T, m *machined.Manager) error {
	t.Helper()
	r := machined.Registration{Name: "foo", Class: machined.ClassContainer, AllocateUnit: true}
	if _, err := fmt.Sscan(os.Getenv(crashLeader), &r.Leader.PID); err != nil {
		return err
	}
	_, err := m.Register(t.Context(), machined.Caller{}, r)
	return err
}

// copyOf copies a tree; the sleeping container has the root of the host.
func copyOf(root string) machined.CopyRequest {
	return machined.CopyRequest{Source: filepath.Join(root, "from"), Destination: filepath.Join(root, "to"), Replace: true}
}

// TestCrashChild is the child of TestKilledDaemon and nothing by itself.
func TestCrashChild(t *testing.T) {
	root := os.Getenv(crashRoot)
	if root == "" {
		t.Skip("only runs as a child of TestKilledDaemon")
	}
	units, err := cgroup2.New(cgroup2.Options{Base: os.Getenv(crashBase)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := machined.New(crashConfig(root, os.Getenv("BERTH_TEST_CRASH_RUN"), units))
	if err != nil {
		t.Fatal(err)
	}
	order := crashOrders[os.Getenv(crashCase)]
	killat.Mark()
	if err := order(t, m, root); err != nil {
		t.Fatal(err)
	}
	os.Exit(0) // without ending anything, as a crash would
}

// changing are the steps of a daemon that others can see.
func changing() []uint64 {
	return append(killat.OnDisk(), unix.SYS_WRITE, unix.SYS_BIND, unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_SYMLINKAT)
}

// TestKilledDaemon kills a daemon at each step of what it is told to do: the next
// one knows a machine that is alive or none, and can do all that was to be done.
func TestKilledDaemon(t *testing.T) {
	for name := range crashOrders {
		t.Run(name, func(t *testing.T) {
			steps := 0
			for killed := true; killed; steps++ {
				t.Run(fmt.Sprint(steps+1), func(t *testing.T) {
					h := newCrashHost(t)
					killed = h.kill(t, name, steps+1)
					h.hold(t, name)
				})
				if t.Failed() {
					t.Fatalf("killed at step %d", steps+1)
				}
			}
			if steps < 10 {
				t.Errorf("%d steps: the child is not traced", steps)
			}
		})
	}
}

func (h *crashHost) kill(t *testing.T, name string, nth int) bool {
	t.Helper()
	from := filepath.Join(h.root, "from/dir")
	if err := errors.Join(os.MkdirAll(from, 0o755), os.WriteFile(filepath.Join(from, "file"), []byte("text"), 0o600),
		os.Symlink("/etc/passwd", filepath.Join(from, "link"))); err != nil {
		t.Fatal(err)
	}
	t.Setenv(crashLeader, fmt.Sprint(h.leader.Process.Pid))
	env := append(os.Environ(), crashRoot+"="+h.root, crashBase+"="+h.base, crashCase+"="+name, "BERTH_TEST_CRASH_RUN="+h.run)
	return killat.Run(t, changing(), env, nth, "-test.run=^TestCrashChild$")
}

// hold looks at what a killed daemon left with the eyes of the next one.
func (h *crashHost) hold(t *testing.T, name string) {
	t.Helper()
	units, err := cgroup2.New(cgroup2.Options{Base: h.base})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := units.Stop(t.Context(), machined.Unit{Name: machined.ScopeName("foo")}, 0); err != nil {
			t.Error(err)
		}
		awaitNoUnits(t, filepath.Join(h.cgroup, "machine.slice"))
		if err := units.Close(); err != nil {
			t.Error(err)
		}
	}()
	m, err := machined.New(crashConfig(h.root, h.run, units))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	list := m.List()
	if len(list) > 1 || len(list) == 1 && (list[0].Name != "foo" || !processExists(list[0].Leader.PID)) {
		t.Fatalf("listed are %+v", list)
	}
	if name == "start" {
		h.startAgain(t, m)
		return
	}
	h.holdFiles(t, list)
	if len(list) == 1 {
		if err := m.Unregister(t.Context(), "foo"); err != nil {
			t.Error(err)
		}
	}
	if err := h.again(t, m, name); err != nil {
		t.Errorf("what was interrupted cannot be done: %v", err)
	}
}

// startAgain gets the machine up, unless the start that was interrupted goes on.
func (h *crashHost) startAgain(t *testing.T, m *machined.Manager) {
	t.Helper()
	await.Until(t, patience, "the machine to be there", func() bool {
		if _, err := m.Find("foo"); err == nil {
			return true
		}
		err := crashOrders["start"](t, m, h.root)
		if err != nil && !errors.Is(err, machined.ErrMachineExists) {
			t.Fatalf("what was interrupted cannot be done: %v", err)
		}
		return err == nil
	})
	if err := m.Terminate(t.Context(), "foo"); err != nil {
		t.Error(err)
	}
	await.Until(t, patience, "the machine to end", func() bool {
		_, err := m.Find("foo")
		return errors.Is(err, machined.ErrNoSuchMachine)
	})
	h.holdFiles(t, nil)
	if starts, err := os.ReadDir(filepath.Join(h.run, "starts")); len(starts) != 0 {
		t.Errorf("starts are noted still: %v, %v", starts, err)
	}
}

// holdFiles fails if there are state files of other machines than are listed.
func (h *crashHost) holdFiles(t *testing.T, list []machined.Machine) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.root, "state"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		known := len(list) == 1 && (e.Name() == "foo" || e.Name() == "unit:"+list[0].Unit)
		if !known {
			t.Errorf("%s is among the state files, machines are %+v", e.Name(), list)
		}
	}
}

// again does what was interrupted.
func (h *crashHost) again(t *testing.T, m *machined.Manager, name string) error {
	t.Helper()
	if err := crashOrders[name](t, m, h.root); err != nil {
		return err
	}
	if name != "copy" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(h.root, "to/dir/file"))
	link, linkErr := os.Readlink(filepath.Join(h.root, "to/dir/link"))
	if string(text) != "text" || link != "/etc/passwd" {
		err = fmt.Errorf("copied are %q and %q", text, link)
	}
	var found []string
	walkErr := filepath.WalkDir(filepath.Join(h.root, "to"), func(path string, _ os.DirEntry, err error) error {
		found = append(found, strings.TrimPrefix(path, h.root))
		return err
	})
	if got := strings.Join(found, " "); got != "/to /to/dir /to/dir/file /to/dir/link" {
		err = errors.Join(err, fmt.Errorf("there are %s", got))
	}
	return errors.Join(err, linkErr, walkErr)
}
