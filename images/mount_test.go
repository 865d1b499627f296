package images_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What lies on a mount that takes no changes is read-only, beside what does not, be
// the mount the image itself or around several.
func TestImagesOnReadOnlyMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root: mounts")
	}
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/free/", "var/lib/machines/bound/", "run/machines/one/", "run/machines/two.raw")
	bind := func(path string) {
		t.Helper()
		check(t, unix.Mount(path, path, "", unix.MS_BIND, ""))
		t.Cleanup(func() { check(t, unix.Unmount(path, unix.MNT_DETACH)) })
		check(t, unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
	bind(filepath.Join(root, "var/lib/machines/bound"))
	bind(filepath.Join(root, "run/machines"))
	list, err := store.List(t.Context())
	check(t, err)
	got := map[string]bool{}
	for _, img := range list {
		got[img.Name] = img.ReadOnly
		if found, err := store.Find(t.Context(), img.Class, img.Name); err != nil || found != img {
			t.Errorf("find %s: %+v, %v; listed %+v", img.Name, found, err, img)
		}
	}
	for name, want := range map[string]bool{"free": false, "bound": true, "one": true, "two": true} {
		if readOnly, ok := got[name]; !ok || readOnly != want {
			t.Errorf("%s: read-only is %v (listed: %v), want %v", name, readOnly, ok, want)
		}
	}
}
