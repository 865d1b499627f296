package tarball

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDirectoryEnteredAgain interleaves the content of directories: whatever the order, a directory ends up with its
// own time, and its default ACL is not inherited by what the archive describes without one.
func TestDirectoryEnteredAgain(t *testing.T) {
	requireRoot(t)
	h := newHost(t)
	mtime := time.Unix(1234567890, 5000)
	a := tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o2750, ModTime: mtime, PAXRecords: map[string]string{
		"SCHILY.acl.default": "user::rwx,user:61000:rwx,group::r-x,mask::rwx,other::---",
	}}
	archive := hostile(t, a, tar.Header{Name: "b/", Typeflag: tar.TypeDir, ModTime: mtime}, regularAt("b/1"),
		regularAt("a/1"), regularAt("b/2"), regularAt("a/sub/2"), regularAt("b/3"), hardlinkAt("a/sub/3", "b/3"))
	if err := h.attack(t, archive, Limits{}); err != nil {
		t.Fatal(err)
	}
	got := snapshot(t, h.tree)
	for _, name := range []string{"a", "b"} {
		if got[name].Mtime.Sec != mtime.Unix() {
			t.Errorf("time of %s is %v", name, got[name].Mtime)
		}
	}
	if got["a"].Mode != unix.S_IFDIR|0o2750 || got["a"].Xattrs[aclDefault] == "" {
		t.Errorf("a: mode %#o, attributes %v", got["a"].Mode, got["a"].Xattrs)
	}
	for _, name := range []string{"a/1", "a/sub", "a/sub/2", "b/1"} {
		if n := got[name]; len(n.Xattrs) != 0 {
			t.Errorf("%s inherited %v", name, n.Xattrs)
		}
	}
	if got["a/sub"].Mode&0o777 != newDirMode {
		t.Errorf("directory without entry has the mode %#o", got["a/sub"].Mode)
	}
	if got["a/sub/3"].Peer != got["b/3"].Peer {
		t.Error("hard link across directories is lost")
	}
}

// TestRootACLIsNotInherited unpacks into a directory that got a default ACL from its own parent.
func TestRootACLIsNotInherited(t *testing.T) {
	requireRoot(t)
	h := newHost(t)
	b := builder{t, h.base}
	b.acl("tree", aclDefault, "user::rwx,user:61000:rwx,group::r-x,mask::rwx,other::---")
	if err := extractInto(t, h.tree, hostile(t, directoryAt("./"), regularAt("x")), ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, n := range snapshot(t, h.tree) {
		if len(n.Xattrs) != 0 {
			t.Errorf("%s has %v", name, n.Xattrs)
		}
	}
}

// TestLastEntryOfANameWins unpacks a name as every kind in turn.
func TestLastEntryOfANameWins(t *testing.T) {
	h := newHost(t)
	archive := hostile(t,
		regularAt("x"), symlinkAt("x", "y"), directoryAt("x"), tar.Header{Name: "x", Typeflag: tar.TypeFifo},
		regularAt("z"), hardlinkAt("x", "z"), directoryAt("x"), directoryAt("x"), symlinkAt("x", "last"))
	if err := h.attack(t, archive, Limits{}); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(h.tree, "x")); target != "last" {
		t.Errorf("x is %q, %v", target, err)
	}
}

func TestWarnings(t *testing.T) {
	requireRoot(t)
	h := newHost(t)
	archive := hostile(t, tar.Header{Name: "x", PAXRecords: map[string]string{
		"SCHILY.acl.access":             "user::rw-,user:somebody:rwx,group::r--,mask::rwx,other::---",
		"SCHILY.xattr.com.apple.quirk":  "q",
		"SCHILY.xattr.security.selinux": "system_u:object_r:etc_t:s0",
		"SCHILY.xattr.user.kept":        "k",
	}})
	var warnings []string
	err := extractInto(t, h.tree, archive, ExtractOptions{Warn: func(entry string, err error) {
		warnings = append(warnings, entry+": "+err.Error())
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(warnings, "\n")
	for _, want := range []string{"x: drop 1 ACL entries", `x: skip extended attribute "com.apple.quirk"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %q in:\n%s", want, got)
		}
	}
	n := snapshot(t, h.tree)["x"]
	if n.Xattrs["user.kept"] == "" || n.Xattrs["security.selinux"] != "" {
		t.Errorf("attributes %v", n.Xattrs)
	}
}

func TestExtractStopsWithItsContext(t *testing.T) {
	h := newHost(t)
	dir, err := os.Open(h.tree)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan error, 1)
	go func() { done <- Extract(ctx, r, dir, ExtractOptions{}) }()
	archive := hostile(t, regularAt("x"))
	if _, err := w.Write(archive[:700]); err != nil {
		t.Fatal(err)
	}
	cancel()
	// What follows wakes the read; it must not be unpacked.
	if _, err := w.Write(archive[700:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDiskFullNamesTheEntry(t *testing.T) {
	requireRoot(t)
	point := t.TempDir()
	if err := unix.Mount("tmpfs", point, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(point, 0); err != nil {
			t.Error(err)
		}
	})
	source := t.TempDir()
	builder{t, source}.file("usr/bin/large", 1<<20)
	err := extractInto(t, point, createFrom(t, source, CreateOptions{}), ExtractOptions{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), `extract "./usr/bin/large": write: no space left`) {
		t.Errorf("got %v", err)
	}
}
