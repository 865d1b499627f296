package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	childDir = "BERTH_TEST_EXTRACT_INTO"
	// childUsers makes the child unpack as in a user namespace, and print its warnings.
	childUsers = "BERTH_TEST_EXTRACT_USERS"
	nobody     = 65534
)

// TestMain runs Extract on standard input if it is the child of TestUnprivileged.
func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	f, err := os.Open(dir)
	if err == nil {
		var o ExtractOptions
		if os.Getenv(childUsers) != "" {
			o.Users, o.Warn = 1<<16, func(entry string, err error) { fmt.Printf("%s: %v\n", entry, err) }
		}
		err = Extract(context.Background(), os.Stdin, f, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestUnprivileged unpacks as another user, who may keep owners that are its own and nothing else.
func TestUnprivileged(t *testing.T) {
	requireRoot(t)
	base := t.TempDir()
	for dir := base; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := copyOfMyself(t, base)
	own := hostileOwned(t, nobody, tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o500}, regularAt("d/x"), symlinkAt("s", "x"))
	sda := tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8}
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"own files": {own, ""},
		"hard link to what is left out": {
			hostileOwned(t, nobody, sda, hardlinkAt("disk", "./dev/sda"), hardlinkAt("dev/again", "disk"), regularAt("x"), hardlinkAt("y", "x")),
			"dev/sda: leave out the device node: operation not permitted\n" +
				`disk: leave out the hard link to "./dev/sda", which was left out` + "\n" +
				`dev/again: leave out the hard link to "disk", which was left out`,
		},
		"hard link to nothing": {
			hostileOwned(t, nobody, sda, hardlinkAt("disk", "dev/sdb")),
			"dev/sda: leave out the device node: operation not permitted\n" +
				`extract "disk": hard link to "dev/sdb": no such file or directory`,
		},
		"chown": {hostileOwned(t, 0, regularAt("usr/x")), `extract "usr/x": set owner 0:0: operation not permitted`},
		"chown of a directory": {
			hostileOwned(t, 0, directoryAt("usr/bin/"), symlinkAt("usr/a", "b")),
			`extract "usr/a": finish directory "usr/bin": set owner 0:0: operation not permitted`,
		},
		"mknod": {
			hostileOwned(t, nobody, sda),
			`extract "dev/sda": make device node, FIFO or socket: operation not permitted`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := mkdir(t, base, strings.ReplaceAll(name, " ", "-"))
			if err := os.Chown(dir, nobody, nobody); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = append(os.Environ(), childDir+"="+dir)
			if strings.HasPrefix(name, "hard link") {
				cmd.Env = append(cmd.Env, childUsers+"=yes")
			}
			cmd.Stdin = bytes.NewReader(test.archive)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); got != test.want || (err != nil) != strings.Contains(test.want, "extract \"") {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func hostileOwned(t *testing.T, id int, headers ...tar.Header) []byte {
	t.Helper()
	archive := hostile(t, headers...)
	return patched(t, archive, fmt.Sprintf("%07o\x00%07o\x00", 0, 0), fmt.Sprintf("%07o\x00%07o\x00", id, id))
}

// copyOfMyself puts the test binary where another user can run it.
func copyOfMyself(t *testing.T, dir string) string {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(dir, "test-binary")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
