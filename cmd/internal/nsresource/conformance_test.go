package nsresource_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/cmd/internal/nsresource"
	"berth/cmd/internal/varlink"
	"berth/images/foreign"
)

// hostVariable has the suite run against the services of the host, in a directory that it names.
const hostVariable = "BERTH_TEST_HOST_SERVICES"

// TestConformance holds the stand-in to what the services of a host do. Against those of a real one it is run on a
// test host.
func TestConformance(t *testing.T) {
	place := os.Getenv(hostVariable)
	if place == "" {
		if !withServices(t, tmpfs, nil, nil) {
			return
		}
		place = os.Getenv(placeVariable)
	}
	dir, err := os.Open(place)
	must(t, err)
	defer dir.Close()
	// The users of a namespace are what a kernel without BPF LSM is not given; directories can do without.
	t.Run("directories", func(t *testing.T) { directories(t, dir) })
	t.Run("namespaces", namespaces)
	t.Run("mounts", func(t *testing.T) { mounts(t, dir) })
}

func directories(t *testing.T, dir *os.File) {
	made, err := client().MakeDirectory(t.Context(), dir, "made")
	must(t, err)
	defer made.Close()
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(dir.Name(), "made"), &st))
	if st.Uid != foreign.Base || st.Gid != foreign.Base || st.Mode != unix.S_IFDIR|0o755 {
		t.Errorf("it belongs to %d:%d and has mode %#o", st.Uid, st.Gid, st.Mode)
	}
	if names, err := made.Readdirnames(1); !errors.Is(err, io.EOF) {
		t.Errorf("read it: %q, %v", names, err)
	}
	_, err = client().MakeDirectory(t.Context(), dir, "made")
	wantError(t, "a name that is taken", err, unix.EEXIST)
	for _, name := range []string{"", "..", "a/b"} {
		_, err := client().MakeDirectory(t.Context(), dir, name)
		wantError(t, "the name "+name, err, varlink.InvalidParameter("name"))
	}
	root, err := os.Open("/")
	must(t, err)
	defer root.Close()
	_, err = client().MakeDirectory(t.Context(), root, "berth-test")
	wantError(t, "in a directory of somebody else's", err, refusals()...)
	must(t, os.Remove(filepath.Join(dir.Name(), "made")))
}

// refusals are what a service may answer to who may not: on some hosts it asks an administrator.
func refusals() []error {
	return []error{
		varlink.PermissionDenied(),
		&varlink.Error{Name: "org.varlink.service.InteractiveAuthenticationRequired"},
		&varlink.Error{Name: "io.systemd.InteractiveAuthenticationRequired"},
	}
}

func wantError(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	t.Errorf("%s: %v, want one of %v", what, err, want)
}

// space is a user namespace with a process in it.
func space(t *testing.T) *os.File {
	t.Helper()
	// It lives until its input ends: the context of a test ends before its cleanups.
	cmd := exec.CommandContext(context.Background(), "/bin/cat")
	in, err := cmd.StdinPipe()
	must(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	must(t, cmd.Start())
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func namespaces(t *testing.T) {
	userns := space(t)
	skipWithout(t, client().AllocateRange(t.Context(), userns))
	wantError(t, "users for a namespace that has some", client().AllocateRange(t.Context(), userns),
		&varlink.Error{Name: nsresource.NamespaceInterface + ".UserNamespaceExists"})
	file, err := os.Open("/dev/null")
	must(t, err)
	defer file.Close()
	if err := client().AllocateRange(t.Context(), file); err == nil {
		t.Error("users for something that is no namespace")
	}
	own, err := os.Open("/proc/self/ns/user")
	must(t, err)
	defer own.Close()
	if err := client().AllocateRange(t.Context(), own); err == nil {
		t.Error("users for the namespace of the host")
	}
}

// skipWithout skips where a kernel lacks what the service needs.
func skipWithout(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, foreign.ErrUnavailable) {
		t.Skip("NOT TESTED: ", err)
	}
	must(t, err)
}

func mounts(t *testing.T, dir *os.File) {
	userns := space(t)
	skipWithout(t, client().AllocateRange(t.Context(), userns))
	made, err := client().MakeDirectory(t.Context(), dir, "made")
	must(t, err)
	defer made.Close()
	mount, err := client().MountDirectory(t.Context(), made, userns)
	must(t, err)
	defer mount.Close()
	var st unix.Stat_t
	must(t, unix.Fstat(int(mount.Fd()), &st))
	if st.Uid == foreign.Base || st.Uid%foreign.Size != 0 || st.Uid != st.Gid {
		t.Errorf("in the mount it belongs to %d:%d", st.Uid, st.Gid)
	}
	root, err := os.Open("/")
	must(t, err)
	defer root.Close()
	_, err = client().MountDirectory(t.Context(), root, userns)
	wantError(t, "mount a directory of somebody else's", err, refusals()...)
	empty := space(t)
	if _, err := client().MountDirectory(t.Context(), made, empty); err == nil {
		t.Error("a mount for a namespace without users")
	}
	must(t, os.Remove(filepath.Join(dir.Name(), "made")))
}

// TestUnavailable: an error says which service is not there.
func TestUnavailable(t *testing.T) {
	dir := t.TempDir()
	c := nsresource.Client{NamespaceSocket: filepath.Join(dir, "n"), MountSocket: filepath.Join(dir, "m")}
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	_, makeErr := c.MakeDirectory(t.Context(), f, "a")
	_, mountErr := c.MountDirectory(t.Context(), f, f)
	for socket, err := range map[string]error{
		c.NamespaceSocket:   c.AllocateRange(t.Context(), f),
		c.MountSocket:       makeErr,
		c.MountSocket + "'": mountErr,
	} {
		if !errors.Is(err, foreign.ErrUnavailable) {
			t.Errorf("at %s: %v", socket, err)
		}
	}
}

// TestFlags: the services refuse directories that were opened in unusual ways, which the client keeps from them.
func TestFlags(t *testing.T) {
	if !withServices(t, tmpfs, nil, nil) {
		return
	}
	dir, err := os.OpenFile(os.Getenv(placeVariable), os.O_RDONLY|unix.O_NONBLOCK|unix.O_DIRECTORY, 0)
	must(t, err)
	defer dir.Close()
	made, err := client().MakeDirectory(t.Context(), dir, "made")
	must(t, err, made.Close())
	c, err := varlink.Dial(t.Context(), client().MountSocket)
	must(t, err)
	defer c.Close()
	_, err = c.Call(t.Context(), nsresource.MountInterface+".MakeDirectory", map[string]any{"parentFileDescriptor": 0, "name": "other"}, nil, dir)
	if err == nil {
		t.Error("the test shows nothing: a directory that was opened without blocking is taken")
	}
}
