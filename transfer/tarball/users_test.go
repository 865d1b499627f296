package tarball

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLimitedUsers: owners beyond those that there are become nobody, and ACLs do not speak of them.
func TestLimitedUsers(t *testing.T) {
	requireRoot(t)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	acl := map[string]string{"SCHILY.acl.access": "user::rw-,user:7:r--,user:70000:r--,group:65536:r--,group::r--,mask::r--,other::---"}
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700},
		{Name: "last", Typeflag: tar.TypeReg, Mode: 0o600, Uid: 65535, Gid: 65535},
		{Name: "beyond", Typeflag: tar.TypeReg, Mode: 0o600, Uid: 65536, Gid: 1 << 31, PAXRecords: acl},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var warned []string
	err = Extract(t.Context(), &archive, dir, ExtractOptions{
		Users: 1 << 16, RootMode: 0o005, Warn: func(entry string, err error) { warned = append(warned, entry+": "+err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][3]uint32{".": {0, 0, 0o705}, "last": {65535, 65535, 0o600}, "beyond": {65534, 65534, 0o640}} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir.Name(), name), &st); err != nil {
			t.Fatal(err)
		}
		if got := [3]uint32{st.Uid, st.Gid, st.Mode & 0o7777}; got != want {
			t.Errorf("%s has owner, group and mode %o, want %o", name, got, want)
		}
	}
	value := make([]byte, 1024)
	n, err := unix.Lgetxattr(filepath.Join(dir.Name(), "beyond"), aclAccess, value)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := formatACL(value[:n]); err != nil || strings.Contains(text, "70000") || strings.Contains(text, "65536") || !strings.Contains(text, "user:7:r--") {
		t.Errorf("ACL %q, %v", text, err)
	}
	if len(warned) != 1 || !strings.HasPrefix(warned[0], "beyond: drop 2 ACL entries") {
		t.Errorf("warned of %q", warned)
	}
}

// TestACLOfUnmappedUsers: entries that mean nobody in a user namespace are not packed.
func TestACLOfUnmappedUsers(t *testing.T) {
	value := formatACLValue([]aclEntry{{aclUserObj, 6, aclNoID}, {aclUser, 4, aclNoID}, {aclUser, 4, 7}, {aclOther, 0, aclNoID}})
	if text, err := formatACL(value); err != nil || text != "user::rw-,user:7:r--,other::---" {
		t.Errorf("%q, %v", text, err)
	}
}
