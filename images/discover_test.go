package images_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"berth/images"
)

// hostTree is a store over an empty tree of the system's directories.
func hostTree(t testing.TB) (store *images.Store, root string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	places := images.SystemLocations(root)
	places.Host = false
	return images.NewStore(places), root
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put makes files; a path that ends in a slash is a directory.
func put(t testing.TB, root string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		full := filepath.Join(root, path)
		check(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if path[len(path)-1] == '/' {
			check(t, os.MkdirAll(full, 0o755))
		} else {
			check(t, os.WriteFile(full, []byte(path), 0o644))
		}
	}
}

// summary is "class name type path" for each image.
func summary(root string, list []images.Image) []string {
	var out []string
	for _, i := range list {
		rel, err := filepath.Rel(root, i.Path)
		if err != nil {
			rel = i.Path
		}
		out = append(out, fmt.Sprintf("%s %s %s %s", i.Class, i.Name, i.Type, rel))
	}
	return out
}

func TestListEverything(t *testing.T) {
	store, root := hostTree(t)
	put(t, root,
		"var/lib/machines/tree/", "var/lib/machines/disk.raw", "var/lib/machines/both/", "var/lib/machines/both.raw",
		"var/lib/machines/.hidden/", "var/lib/machines/.#tar0123456789abcdef/", "var/lib/machines/.#tree.lck",
		"var/lib/machines/.sysupdate.x/", "var/lib/machines/lost+found/", "var/lib/machines/plain", "var/lib/machines/disk.nspawn",
		"var/lib/machines/disk.raw.tpmstate/", "var/lib/machines/odd.raw/", "var/lib/machines/stack.mstack/layer@0/",
		"var/lib/machines/ver.v/ver_1/", "var/lib/machines/ver.v/ver_2/", "var/lib/machines/vdisk.raw.v/vdisk_3.raw",
		"var/lib/machines/none.v/", "etc/machines/tree/", "usr/lib/machines/vendor.raw", "srv/target.img", "srv/dir/",
		"var/lib/portables/p.raw", "var/lib/extensions/e.sysext.raw", "var/lib/extensions/f/", "run/confexts/c.confext.raw",
	)
	pool := filepath.Join(root, "var/lib/machines")
	check(t, os.Symlink(filepath.Join(root, "srv/target.img"), filepath.Join(pool, "link.raw")))
	check(t, os.Symlink("../../../srv/dir", filepath.Join(pool, "linkdir")))
	check(t, os.Symlink("nowhere", filepath.Join(pool, "dangling")))
	check(t, os.Symlink("loop", filepath.Join(pool, "loop")))
	check(t, unix.Mkfifo(filepath.Join(pool, "fifo.raw"), 0o600))
	list, err := store.List(t.Context())
	check(t, err)
	want := []string{
		"machine .hidden directory var/lib/machines/.hidden",
		"machine both directory var/lib/machines/both",
		"machine disk raw var/lib/machines/disk.raw",
		"machine link raw srv/target.img",
		"machine linkdir directory srv/dir",
		"machine odd.raw directory var/lib/machines/odd.raw",
		"machine stack mstack var/lib/machines/stack.mstack",
		"machine tree directory etc/machines/tree",
		"machine vdisk raw var/lib/machines/vdisk.raw.v/vdisk_3.raw",
		"machine vendor raw usr/lib/machines/vendor.raw",
		"machine ver directory var/lib/machines/ver.v/ver_2",
		"portable p raw var/lib/portables/p.raw",
		"sysext e raw var/lib/extensions/e.sysext.raw",
		"sysext f directory var/lib/extensions/f",
		"confext c raw run/confexts/c.confext.raw",
	}
	if got := summary(root, list); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, img := range list {
		found, err := store.Find(t.Context(), img.Class, img.Name)
		if err != nil || found != img {
			t.Errorf("find %s: %+v, %v; listed %+v", img.Name, found, err, img)
		}
		if ro := img.Hidden() || img.Vendor() || img.Type == images.TypeMstack; img.ReadOnly != ro {
			t.Errorf("%s: read-only is %v", img.Name, img.ReadOnly)
		}
	}
}

func TestFindNothing(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/foo.raw", "var/lib/machines/bar.v/bar_1/", "var/lib/machines/s.mstack/", "var/lib/machines/lost+found/")
	for _, name := range []string{"foo.raw", "bar.v", "s.mstack", "bar_1", "lost+found", "", "..", "a/b", "../machines/foo", images.HostName, "x"} {
		if img, err := store.Find(t.Context(), images.ClassMachine, name); !errors.Is(err, images.ErrNotFound) {
			t.Errorf("%q: found %+v, %v", name, img, err)
		}
	}
}

func TestHostImage(t *testing.T) {
	_, root := hostTree(t)
	store := images.NewStore(images.SystemLocations(root))
	host, err := store.Find(t.Context(), images.ClassMachine, images.HostName)
	check(t, err)
	if host.Path != "/" || !host.Host() || !host.ReadOnly || !host.Hidden() {
		t.Errorf("%+v", host)
	}
	list, err := store.List(t.Context(), images.ClassMachine)
	if err != nil || len(list) != 1 || list[0] != host {
		t.Errorf("listed %+v, %v", list, err)
	}
	for _, err := range []error{
		store.Remove(t.Context(), host), store.Rename(t.Context(), host, "x"), store.SetReadOnly(t.Context(), host, false),
	} {
		if !errors.Is(err, images.ErrReadOnly) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := store.LockImage(host, true); !errors.Is(err, images.ErrBusy) {
		t.Errorf("exclusive lock on the host: %v", err)
	}
}

// TestLinkedImages removes links and not what they lead to.
func TestLinkedImages(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "srv/target.img", "srv/dir/inside", "var/lib/machines/")
	pool := filepath.Join(root, "var/lib/machines")
	check(t, os.Symlink(filepath.Join(root, "srv/target.img"), filepath.Join(pool, "a.raw")))
	check(t, os.Symlink(filepath.Join(root, "srv/dir"), filepath.Join(pool, "b")))
	for _, name := range []string{"a", "b"} {
		img, err := store.Find(t.Context(), images.ClassMachine, name)
		check(t, err)
		if err := store.Rename(t.Context(), img, "new"); !errors.Is(err, images.ErrNotSupported) {
			t.Errorf("rename of a symlinked image: %v", err)
		}
		check(t, store.Remove(t.Context(), img))
	}
	if list, err := store.List(t.Context()); len(list) > 0 || err != nil {
		t.Errorf("listed %v, %v", list, err)
	}
	for _, path := range []string{"srv/target.img", "srv/dir/inside"} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("THE TARGET OF A LINK WAS REMOVED: %v", err)
		}
	}
}

// TestVersionedImage uncovers the next version by removing the best.
func TestVersionedImage(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/v.raw.v/v_1.raw", "var/lib/machines/v.raw.v/v_1.10.raw")
	img, err := store.Find(t.Context(), images.ClassMachine, "v")
	check(t, err)
	if filepath.Base(img.Path) != "v_1.10.raw" || !img.Versioned {
		t.Errorf("picked %+v", img)
	}
	if err := store.Rename(t.Context(), img, "w"); !errors.Is(err, images.ErrNotSupported) {
		t.Errorf("rename: %v", err)
	}
	check(t, store.Remove(t.Context(), img))
	img, err = store.Find(t.Context(), images.ClassMachine, "v")
	if err != nil || filepath.Base(img.Path) != "v_1.raw" {
		t.Errorf("then %+v, %v", img, err)
	}
}

func TestVendorImage(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "usr/lib/machines/v.raw")
	img, err := store.Find(t.Context(), images.ClassMachine, "v")
	check(t, err)
	for _, err := range []error{
		store.Remove(t.Context(), img), store.Rename(t.Context(), img, "x"), store.SetReadOnly(t.Context(), img, false),
	} {
		if !errors.Is(err, images.ErrReadOnly) {
			t.Errorf("got %v", err)
		}
	}
	check(t, store.Clone(t.Context(), img, "mine", images.CloneOptions{}))
	if mine, err := store.Find(t.Context(), images.ClassMachine, "mine"); err != nil || mine.Vendor() || mine.ReadOnly {
		t.Errorf("the clone: %+v, %v", mine, err)
	}
}

func TestListEnds(t *testing.T) {
	store, root := hostTree(t)
	put(t, root, "var/lib/machines/a.raw")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkList(b *testing.B) {
	store, root := hostTree(b)
	for i := range 500 {
		put(b, root, fmt.Sprintf("var/lib/machines/d%d/", i), fmt.Sprintf("var/lib/machines/r%d.raw", i))
	}
	b.ResetTimer()
	for b.Loop() {
		if list, err := store.List(b.Context()); len(list) != 1000 || err != nil {
			b.Fatal(len(list), err)
		}
	}
}
