package nsresource_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/cmd/internal/nsresource"
	"berth/cmd/internal/nsresource/standin"
	"berth/fixtures/loopfs"
	"berth/fixtures/ownhost"
)

// The variables by which the user's part of a test finds what root has made.
const (
	servicesVariable = "BERTH_TEST_SERVICES"
	placeVariable    = "BERTH_TEST_PLACE"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// client asks the services that the test was given: a stand-in's, or the host's.
func client() nsresource.Client {
	dir := os.Getenv(servicesVariable)
	if dir == "" {
		return nsresource.Client{}
	}
	return nsresource.Client{NamespaceSocket: filepath.Join(dir, "namespaces"), MountSocket: filepath.Join(dir, "mounts")}
}

// withServices runs the user's part of a test with a stand-in for the services and a directory of the user's. It returns
// true in that part. Root's part may prepare that directory, and look at what became of it.
func withServices(t *testing.T, place func(*testing.T) string, prepare, after func(dir string)) bool {
	t.Helper()
	if ownhost.IsUser() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root for the services of a host")
	}
	ownhost.NeedNamespaces(t)
	dir := place(t)
	if err := standin.Probe(dir); err != nil {
		t.Skip("NOT TESTED: owners cannot be mapped here: ", err)
	}
	must(t, os.Chmod(dir, 0o700), os.Chown(dir, ownhost.User, ownhost.User))
	if prepare != nil {
		prepare(dir)
	}
	services := reachable(t)
	stop, err := standin.New().Start(t.Context(), filepath.Join(services, "namespaces"), filepath.Join(services, "mounts"))
	must(t, err)
	ownhost.AsUser(t, servicesVariable+"="+services, placeVariable+"="+dir)
	must(t, stop())
	if after != nil && !t.Failed() {
		after(dir)
	}
	return false
}

// reachable makes a directory that every user can reach, which those of a test are not.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "berth-user-")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// fileSystems are the places in which trees are tested.
func fileSystems() map[string]func(*testing.T) string {
	places := map[string]func(*testing.T) string{"tmpfs": tmpfs}
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		places[kind] = func(t *testing.T) string {
			t.Helper()
			point := loopfs.Mount(t, kind, loopfs.MinXFS)
			must(t, os.Chmod(filepath.Dir(point), 0o755))
			return point
		}
	}
	return places
}

func tmpfs(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(reachable(t), "mount")
	must(t, os.Mkdir(dir, 0o700), unix.Mount("berth-test", dir, "tmpfs", 0, "mode=700"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}
