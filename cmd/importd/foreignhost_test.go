package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/cmd/internal/nsresource"
	"berth/cmd/internal/nsresource/standin"
	"berth/fixtures/await"
	"berth/fixtures/loopfs"
	"berth/fixtures/ownhost"
	"berth/fixtures/privatebus"
	"berth/images/foreign"
	"berth/importd"

	"golang.org/x/sys/unix"
)

// limit is how long a test waits for what other processes do.
const limit = time.Minute

// userHost is a host with the services for trees of many owners, and the home of a user.
type userHost struct {
	*bench
	programs, home, run, images string
}

// userPrograms builds what the tests of a user run.
func userPrograms(t *testing.T) (dir string) {
	t.Helper()
	dir = newBench(t).dir
	if err := ownhost.Build(t.Context(), dir, "importd", "importctl", "machined", "machinectl"); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(os.Chmod(dir, 0o755), os.Symlink("importd", filepath.Join(dir, "systemd-import")))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// homes are the file systems that a home is tested on.
func homes() map[string]func(*testing.T) string {
	all := map[string]func(*testing.T) string{"tmpfs": homeOnTmpfs}
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		all[kind] = func(t *testing.T) string {
			t.Helper()
			point := loopfs.Mount(t, kind, loopfs.MinXFS)
			if err := os.Chmod(filepath.Dir(point), 0o755); err != nil {
				t.Fatal(err)
			}
			return point
		}
	}
	return all
}

func homeOnTmpfs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "berth-home-")
	if err == nil {
		err = unix.Mount("berth-test", dir, "tmpfs", 0, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A process that dies has files open for a moment after it has lost its name.
		var err error
		if !await.Met(limit, func() bool { err = unix.Unmount(dir, 0); return !errors.Is(err, unix.EBUSY) }) || err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newUserHost starts the services unless a test is about their absence.
func newUserHost(t *testing.T, programs string, home func(*testing.T) string, services bool) *userHost {
	t.Helper()
	b := newBench(t)
	h := &userHost{bench: b, programs: programs, home: home(t), run: b.path("run")}
	h.images = filepath.Join(h.home, ".local/state/machines")
	h.must(os.Chmod(b.dir, 0o755), os.Mkdir(h.run, 0o700), os.Chown(h.run, ownhost.User, ownhost.User),
		os.Chown(h.home, ownhost.User, ownhost.User), os.Chmod(h.home, 0o700))
	ownhost.NeedNamespaces(t)
	if err := standin.Probe(h.home); err != nil {
		t.Skip("NOT TESTED: owners cannot be mapped here: ", err)
	}
	if services {
		t.Cleanup(h.services())
	}
	privatebus.StartAt(t, filepath.Join(h.run, "bus"))
	t.Cleanup(h.nobodyLeft)
	return h
}

// services starts the stand-ins, in the place of the services of a host.
func (h *userHost) services() (stop func()) {
	h.t.Helper()
	h.must(os.MkdirAll(filepath.Dir(nsresource.MountSocket), 0o755))
	// The context of a test ends before its cleanups.
	end, err := standin.New().Start(context.Background(), nsresource.NamespaceSocket, nsresource.MountSocket)
	h.must(err)
	return func() {
		if err := end(); err != nil {
			h.t.Error(err)
		}
	}
}

func (h *userHost) must(errs ...error) {
	h.t.Helper()
	for _, err := range errs {
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// as is a program that the user runs.
func (h *userHost) as(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(h.t.Context(), filepath.Join(h.programs, program), args...)
	cmd.Env = append(os.Environ(), "HOME="+h.home, "XDG_RUNTIME_DIR="+h.run, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "DBUS_SESSION_BUS_ADDRESS=")
	cmd.Dir = h.home
	cmd.SysProcAttr = ownhost.Credential()
	return cmd
}

// daemon starts the user's importd.
func (h *userHost) daemon() (stop func()) {
	h.t.Helper()
	return startDaemon(h.t, h.as("importd", "--user"))
}

// tool runs importctl, which has to succeed.
func (h *userHost) tool(args ...string) string {
	h.t.Helper()
	out, err := h.as("importctl", append([]string{"--user", "-m"}, args...)...).CombinedOutput()
	if err != nil {
		h.t.Errorf("importctl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// eventually waits for what other processes do.
func (h *userHost) eventually(what string, met func() bool) {
	h.t.Helper()
	await.Until(h.t, limit, what, met)
}

// left are the names in the user's image directory, spools aside.
func (h *userHost) left() (names []string) {
	h.t.Helper()
	entries, err := os.ReadDir(h.images)
	h.must(err)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".#spool-") {
			names = append(names, e.Name())
		}
	}
	return names
}

// processes are those of this host that have one of our names.
func (h *userHost) processes(name string) (pids []int) {
	h.t.Helper()
	own, err := os.Readlink("/proc/self/ns/mnt")
	h.must(err)
	all, err := filepath.Glob("/proc/[0-9]*")
	h.must(err)
	for _, dir := range all {
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !strings.HasPrefix(string(line), name+"\x00") {
			continue // gone, or somebody else's
		}
		if ns, err := os.Readlink(filepath.Join(dir, "ns/mnt")); err != nil || ns != own {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(dir), &pid); err != nil {
			h.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// stopped stops a process and waits until it has, with all its threads.
func (h *userHost) stopped(pid int) {
	h.t.Helper()
	h.must(syscall.Kill(pid, syscall.SIGSTOP))
	h.eventually("a process that stands still", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		h.must(err)
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(text), ") T ") {
				return false
			}
		}
		return len(threads) > 0
	})
}

// unlocked waits until nobody holds the lock of an image: whoever dies has it a little
// longer than its name.
func (h *userHost) unlocked(name string) {
	h.t.Helper()
	f, err := os.Open(filepath.Join(h.images, name))
	h.must(err)
	h.eventually("the end of a lock", func() bool { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil })
	h.must(f.Close())
}

// nobodyLeft makes sure that what works for a transfer has ended with it.
func (h *userHost) nobodyLeft() {
	for _, name := range []string{importd.WorkerName, importd.UnpackerName, foreign.Name} {
		if !await.Met(limit, func() bool { return len(h.processes(name)) == 0 }) {
			h.t.Errorf("processes of the name %s are left: %v", name, h.processes(name))
		}
	}
}

// Entries of the archive of a user's tree.
var foreignEntries = []tar.Header{
	{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700},
	{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755},
	{Name: "./etc/os-release", Typeflag: tar.TypeReg, Mode: 0o644, Size: 8},
	{Name: "./etc/shadow", Typeflag: tar.TypeReg, Mode: 0o600, Size: 8, Gid: 42},
	{Name: "./su", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 8},
	{Name: "./su2", Typeflag: tar.TypeLink, Linkname: "./su"},
	{Name: "./link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd", Uid: 5, Gid: 6},
	{Name: "./home/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 1000, Gid: 1001},
	{
		Name: "./home/file", Typeflag: tar.TypeReg, Mode: 0o640, Size: 8, Uid: 1000, Gid: 1001, PAXRecords: map[string]string{
			"SCHILY.xattr.user.note":    "kept",
			"SCHILY.xattr.trusted.note": "not for users",
			"SCHILY.acl.access":         "user::rw-,user:7:r--,user:70000:r--,group::r--,mask::r--,other::---",
		},
	},
	{
		Name: "./ping", Typeflag: tar.TypeReg, Mode: 0o755, Size: 8, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		},
	},
	{Name: "./stranger", Typeflag: tar.TypeReg, Mode: 0o644, Size: 8, Uid: 100000, Gid: 70000},
	{Name: "./null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
}

// foreignArchive is a tree with files of many users, and payload besides.
func foreignArchive(t *testing.T, payload ...byte) []byte {
	t.Helper()
	return archiveOf(t, payload, foreignEntries)
}

func archiveOf(t *testing.T, payload []byte, entries []tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range entries {
		h.Format, h.ModTime = tar.FormatPAX, time.Unix(1e9, 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "ID=test\n"[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if len(payload) > 0 {
		err = w.WriteHeader(&tar.Header{Name: "./payload", Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(payload))})
		_, writeErr := w.Write(payload)
		err = errors.Join(err, writeErr)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
