package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/cmd/internal/nsresource"
	"berth/fixtures/faultserver"
	"berth/fixtures/ownhost"
	"berth/images/foreign"

	"golang.org/x/sys/unix"
)

// TestForeign is about the images of a user whose files belong to many.
func TestForeign(t *testing.T) {
	programs := userPrograms(t)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, programs string)
	}{
		{"trees", foreignTrees},
		{"tree in a directory", foreignMangled},
		{"root", foreignOfRoot},
		{"cancel", foreignCancel},
		{"daemon is killed", foreignDaemonIsKilled},
		{"direct", foreignDirect},
		{"without services", foreignWithoutServices},
		{"verbs", foreignVerbs},
		{"verbs without services", foreignVerbsWithoutServices},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, programs) })
	}
}

// foreignTrees: the archives of a user become trees whose files have all their owners, in the foreign range, and back, on
// each file system.
func foreignTrees(t *testing.T, programs string) {
	for kind, home := range homes() {
		t.Run(kind, func(t *testing.T) {
			h := newUserHost(t, programs, home, true)
			defer h.daemon()()
			archive := h.write("tree.tar", foreignArchive(t))
			h.must(os.Chmod(archive, 0o644))
			said := h.tool("import-tar", archive, "imported")
			for _, left := range []string{"null", "trusted.note"} {
				if !strings.Contains(said, left) {
					t.Errorf("nobody said that %s was left out:\n%s", left, said)
				}
			}
			h.wantTree("imported")
			h.tool("export-tar", "imported", filepath.Join(h.home, "out.tar"))
			h.wantArchive(filepath.Join(h.home, "out.tar"))
			url := h.serve("tree.tar", foreignArchive(t))
			h.tool("--verify=no", "pull-tar", url, "pulled")
			h.wantTree("pulled")
			h.server.Set("/tree.tar", faultserver.Answer{Status: 304})
			h.tool("--verify=no", "pull-tar", url, "again")
			h.wantTree("again")
			h.server.Set("/tree.tar", faultserver.Answer{Body: foreignArchive(t, 'x'), ETag: `"2"`})
			h.tool("--verify=no", "--force", "pull-tar", url, "again")
			h.wantTree("again")
			h.tool("import-fs", filepath.Join(h.images, "again"), "copied")
			h.wantTree("copied")
			for _, name := range h.left() {
				if strings.HasPrefix(name, ".#tar") || strings.HasPrefix(name, ".#remove") {
					t.Errorf("left behind: %s", name)
				}
			}
			listed := h.tool("list-images", "--no-legend")
			for _, name := range []string{"imported", "pulled", "again", "copied"} {
				if !strings.Contains(listed, " "+name+" ") {
					t.Errorf("%s is not listed:\n%s", name, listed)
				}
			}
		})
	}
}

// wantTree looks at a tree as it is on the disk.
func (h *userHost) wantTree(name string) {
	h.t.Helper()
	top := filepath.Join(h.images, name)
	for _, e := range foreignEntries {
		var st unix.Stat_t
		err := unix.Lstat(filepath.Join(top, e.Name), &st)
		if e.Typeflag == tar.TypeChar {
			if !errors.Is(err, unix.ENOENT) {
				h.t.Errorf("%s: %s is there: %v", name, e.Name, err)
			}
			continue
		}
		if err != nil {
			h.t.Error(err)
			continue
		}
		uid, gid, mode := foreign.Base+min(e.Uid, foreign.Nobody), foreign.Base+min(e.Gid, foreign.Nobody), uint32(e.Mode)
		switch {
		case e.Typeflag == tar.TypeLink:
			mode = 0o4755
		case e.Name == "./":
			mode |= foreign.TopMode
		case e.Typeflag == tar.TypeSymlink:
			mode = 0o777
		}
		if int(st.Uid) != uid || int(st.Gid) != gid || st.Mode&0o7777 != mode {
			h.t.Errorf("%s: %s belongs to %d:%d with mode %#o, want %d:%d with %#o", name, e.Name, st.Uid, st.Gid, st.Mode&0o7777, uid, gid, mode)
		}
		if e.Name == "./su2" && st.Nlink != 2 {
			h.t.Errorf("%s: a hard link became a file of its own", name)
		}
	}
	h.wantAttributes(name)
}

func (h *userHost) wantAttributes(name string) {
	h.t.Helper()
	entry := func(tag, perm byte, id string) string { return string([]byte{tag, 0, perm, 0}) + id }
	const none = "\xff\xff\xff\xff"
	for file, want := range map[string]map[string]string{
		"home/file": {
			"user.note":    "kept",
			"trusted.note": "",
			"system.posix_acl_access": "\x02\x00\x00\x00" + entry(1, 6, none) + entry(2, 4, "\x07\x00\xfe\x7f") +
				entry(4, 4, none) + entry(16, 4, none) + entry(32, 0, none),
		},
		// Root of the foreign range is who gets the capability.
		"ping": {"security.capability": "\x01\x00\x00\x03\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xfe\x7f"},
	} {
		for attribute, value := range want {
			got := make([]byte, 1024)
			n, err := unix.Lgetxattr(filepath.Join(h.images, name, file), attribute, got)
			if errors.Is(err, unix.ENODATA) {
				n, err = 0, nil
			}
			if err != nil || string(got[:n]) != value {
				h.t.Errorf("%s: %s of %s is %q, %v; want %q", name, attribute, file, got[:max(n, 0)], err, value)
			}
		}
	}
}

// wantArchive looks at what was exported: the owners are those of the archive again.
func (h *userHost) wantArchive(path string) {
	h.t.Helper()
	text, err := os.ReadFile(path)
	h.must(err)
	var st unix.Stat_t
	h.must(unix.Stat(path, &st))
	if st.Uid != ownhost.User {
		h.t.Errorf("the archive belongs to %d", st.Uid)
	}
	got := map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		h.must(err)
		got[e.Name] = e
	}
	for _, want := range foreignEntries {
		e := got[want.Name]
		switch {
		case want.Typeflag == tar.TypeChar || want.Typeflag == tar.TypeLink:
			continue
		case e == nil:
			h.t.Errorf("%s is not in the archive", want.Name)
		case e.Uid != min(want.Uid, foreign.Nobody) || e.Gid != min(want.Gid, foreign.Nobody):
			h.t.Errorf("in the archive %s belongs to %d:%d", e.Name, e.Uid, e.Gid)
		}
	}
	if e := got["./home/file"]; e != nil && (e.PAXRecords["SCHILY.xattr.user.note"] != "kept" ||
		!strings.Contains(e.PAXRecords["SCHILY.acl.access"], "user:7:r--") || strings.Contains(e.PAXRecords["SCHILY.acl.access"], "70000")) {
		h.t.Errorf("attributes in the archive: %q", e.PAXRecords)
	}
}

// smallArchive has a single directory at its top.
func smallArchive(t *testing.T, uid int) []byte {
	t.Helper()
	return archiveOf(t, nil, []tar.Header{
		{Name: "tree-0.1/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: uid},
		{Name: "tree-0.1/etc/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: uid},
		{Name: "tree-0.1/etc/os-release", Typeflag: tar.TypeReg, Mode: 0o600, Size: 8, Uid: uid},
	})
}

// foreignMangled: a tree that lies in a directory is moved up, and its user can look into it all the same.
func foreignMangled(t *testing.T, programs string) {
	h := newUserHost(t, programs, homeOnTmpfs, true)
	defer h.daemon()()
	archive := h.write("small.tar", smallArchive(t, 3))
	h.must(os.Chmod(archive, 0o644))
	h.tool("import-tar", archive, "small")
	for name, mode := range map[string]uint32{"small": unix.S_IFDIR | 0o700 | foreign.TopMode, "small/etc/os-release": unix.S_IFREG | 0o600} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(h.images, name), &st); err != nil || st.Uid != foreign.Base+3 || st.Mode != mode {
			t.Errorf("%s: owner %d, mode %#o, %v", name, st.Uid, st.Mode, err)
		}
	}
	h.tool("export-tar", "small", filepath.Join(h.home, "small.tar"))
}

// foreignOfRoot: root needs nobody to give files away.
func foreignOfRoot(t *testing.T, programs string) {
	h := newUserHost(t, programs, homeOnTmpfs, false)
	cmd := h.as("systemd-import", "--user", "tar", h.write("small.tar", smallArchive(t, 3)), "small")
	cmd.SysProcAttr = nil
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(h.images, "small/etc/os-release"), &st); err != nil || st.Uid != 3 {
		t.Errorf("the owner is %d, %v", st.Uid, err)
	}
}

// foreignDirect: systemd-sysupdate of a user fills a directory of its own choice.
func foreignDirect(t *testing.T, programs string) {
	h := newUserHost(t, programs, homeOnTmpfs, true)
	archive := h.write("tree.tar", foreignArchive(t))
	h.must(os.Chmod(archive, 0o644), os.MkdirAll(h.images, 0o755))
	for dir := h.images; dir != h.home; dir = filepath.Dir(dir) {
		h.must(os.Chown(dir, ownhost.User, ownhost.User))
	}
	into := filepath.Join(h.images, "direct")
	for i, args := range [][]string{{}, {"--force"}} {
		cmd := h.as("systemd-import", append(append([]string{"--user", "--direct"}, args...), "tar", archive, into)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("time %d: %v\n%s", i, err, out)
		}
		h.wantTree("direct")
	}
	own := filepath.Join(h.home, "own")
	h.must(os.Mkdir(own, 0o755), os.Chown(own, ownhost.User, ownhost.User))
	out, err := h.as("systemd-import", "--user", "--direct", "tar", archive, own).CombinedOutput()
	if err == nil || !strings.Contains(string(out), own) {
		t.Errorf("into a directory with another owner: %v\n%s", err, out)
	}
	whole := foreignArchive(t, noise(1<<20)...)
	broken := h.write("broken.tar", whole[:len(whole)/2])
	h.must(os.Chmod(broken, 0o644))
	if out, err := h.as("systemd-import", "--user", "--direct", "tar", broken, into+"2").CombinedOutput(); err == nil {
		t.Errorf("half an archive was taken:\n%s", out)
	}
	if left := h.left(); fmt.Sprint(left) != "[direct]" {
		t.Errorf("left behind: %q", left)
	}
}

// foreignWithoutServices: an error says where nobody answers, and disk images work as ever.
func foreignWithoutServices(t *testing.T, programs string) {
	h := newUserHost(t, programs, homeOnTmpfs, false)
	defer h.daemon()()
	archive := h.write("tree.tar", foreignArchive(t))
	h.must(os.Chmod(archive, 0o644))
	out, err := h.as("importctl", "--user", "-m", "import-tar", archive, "imported").CombinedOutput()
	if err == nil || !strings.Contains(string(out), nsresource.NamespaceSocket) {
		t.Errorf("without services: %v\n%s", err, out)
	}
	h.tool("import-raw", archive, "disk")
	if left := h.left(); fmt.Sprint(left) != "[disk.raw]" {
		t.Errorf("left behind: %q", left)
	}
}
