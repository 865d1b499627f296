package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCopyRoundTrip(t *testing.T) {
	for kind, args := range map[string][]string{"with user namespace": nil, "without": {sharedUsers}} {
		t.Run(kind, func(t *testing.T) {
			m := bootGuest(t, "berth-copy", args...)
			shift, err := m.UIDShift(t.Context(), m.name)
			if err != nil || (shift == 0) != (args != nil) {
				t.Fatalf("uid shift %d, %v", shift, err)
			}
			dir := t.TempDir()
			makeTree(t, dir+"/src")
			if err := m.CopyTo(t.Context(), m.name, CopyRequest{Source: dir + "/src", Destination: "/srv"}); err != nil {
				t.Fatal(err)
			}
			owner := "7:8"
			if shift != 0 {
				owner = "0:0"
			}
			out, result := runIn(t, m, "cd /srv && stat -c '%a %h %u:%g %Y %n' file hard && readlink link && test -p fifo && cat sub/deep")
			want := fmt.Sprintf("640 2 %s 1000000000 file\n640 2 %s 1000000000 hard\n/etc/passwd\ndeep", owner, owner)
			if out != want || result.ExitCode != 0 {
				t.Errorf("in the machine: %+v %q, want %q", result, out, want)
			}
			if err := m.CopyFrom(t.Context(), m.name, CopyRequest{Source: "/srv/", Destination: dir + "/back"}); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Lstat(dir+"/back/file", &st); err != nil || st.Mode != unix.S_IFREG|0o640 || st.Nlink != 2 || st.Mtim.Sec != 1e9 {
				t.Errorf("copied back: %+v, %v", st, err)
			}
			if got := fmt.Sprintf("%d:%d", st.Uid, st.Gid); got != owner {
				t.Errorf("copied back: owner %s, want %s", got, owner)
			}
			if got := readlink(t, dir+"/back/link"); got != "/etc/passwd" {
				t.Errorf("link to %q", got)
			}
		})
	}
}

// makeTree makes a few files of different kinds.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	old := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}
	if err := errors.Join(
		os.MkdirAll(dir+"/sub", 0o755), os.WriteFile(dir+"/file", []byte("content"), 0o640), os.Chown(dir+"/file", 7, 8),
		os.Link(dir+"/file", dir+"/hard"), os.Symlink("/etc/passwd", dir+"/link"), unix.Mkfifo(dir+"/fifo", 0o600),
		os.WriteFile(dir+"/sub/deep", []byte("deep"), 0o644), unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/file", old, 0),
	); err != nil {
		t.Fatal(err)
	}
}

func TestCopyOverFiles(t *testing.T) {
	m := bootGuest(t, "berth-copy-replace")
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	request := CopyRequest{Source: source, Destination: "/etc/hostname"}
	if err := m.CopyTo(t.Context(), m.name, request); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	request.Replace = true
	if err := m.CopyTo(t.Context(), m.name, request); err != nil {
		t.Error(err)
	}
	if out, _ := runIn(t, m, "cat /etc/hostname"); out != "new" {
		t.Errorf("replaced file holds %q", out)
	}
	request.Destination = "/etc"
	if err := m.CopyTo(t.Context(), m.name, request); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a directory: %v", err)
	}
	// Without a destination: the same path.
	runIn(t, m, "mkdir -p '"+filepath.Dir(source)+"'")
	if err := m.CopyTo(t.Context(), m.name, CopyRequest{Source: source}); err != nil {
		t.Error(err)
	}
	if out, _ := runIn(t, m, "cat '"+source+"'"); out != "new" {
		t.Errorf("copy at the same path holds %q", out)
	}
	if err := m.CopyFrom(t.Context(), m.name, CopyRequest{Source: "/proc/sys/kernel/osrelease", Destination: source + "2"}); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(source + "2"); err != nil || len(text) == 0 {
		t.Errorf("file without a size: %q, %v", text, err)
	}
}

// TestCopyDoesNotLeaveTheMachine plants links in the machine that lead to the
// host wherever the host resolves them.
func TestCopyDoesNotLeaveTheMachine(t *testing.T) {
	m := bootGuest(t, "berth-copy-escape", sharedUsers)
	dir, err := os.MkdirTemp("/var/tmp", "berth-escape-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // of a test
	if err := errors.Join(os.Mkdir(dir+"/host", 0o755), os.WriteFile(dir+"/host/secret", []byte("secret"), 0o600),
		os.WriteFile(dir+"/source", []byte("attack"), 0o644)); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 12)
	pid := strconv.Itoa(m.leader(t))
	runIn(t, m, strings.Join([]string{
		"ln -s " + dir + "/host /absolute", "ln -s " + up + dir + "/host /relative",
		"ln -s /proc/1/root" + dir + "/host /magic", "ln -s /proc/" + pid + "/root" + dir + "/host /number",
		"ln -s " + dir + "/host/secret /file", "ln -s /proc/self/cwd /cwd",
	}, "; "))
	for _, link := range []string{"absolute", "relative", "magic", "number", "cwd"} {
		out := CopyRequest{Source: "/" + link + "/secret", Destination: dir + "/stolen-" + link}
		if err := m.CopyFrom(t.Context(), m.name, out); err == nil {
			t.Errorf("%s: a file of the host was copied out of the machine", link)
		}
		in := CopyRequest{Source: dir + "/source", Destination: "/" + link + "/planted", Replace: true}
		if err := m.CopyTo(t.Context(), m.name, in); err == nil {
			t.Errorf("%s: copied to nowhere", link)
		}
	}
	if err := m.CopyFrom(t.Context(), m.name, CopyRequest{Source: "/file", Destination: dir + "/link"}); err != nil {
		t.Error(err)
	}
	if readlink(t, dir+"/link") != dir+"/host/secret" {
		t.Error("a link was followed")
	}
	if err := m.CopyTo(t.Context(), m.name, CopyRequest{Source: dir + "/source", Destination: "/file", Replace: true}); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(dir + "/host/secret"); string(text) != "secret" {
		t.Errorf("host path changed: %q", text)
	}
	if list, _ := os.ReadDir(dir + "/host"); len(list) != 1 {
		t.Errorf("host path changed: %v", list)
	}
}

// Its users have the numbers of the host's, and still it can mount a filesystem
// that pretends what it likes.
func TestCopyDistrustsEveryUserNamespace(t *testing.T) {
	m := testManager(t, testConfig(t))
	register(t, m, "same", namespaced(t, syscall.SysProcIDMap{Size: 1 << 16}))
	dir := t.TempDir()
	source, program := filepath.Join(dir, "source"), filepath.Join(dir, "source", "program")
	if err := errors.Join(
		os.Mkdir(source, 0o755), os.WriteFile(program, nil, 0o600), unix.Chmod(program, 0o6755),
		unix.Mknod(filepath.Join(source, "disk"), unix.S_IFBLK|0o666, int(unix.Mkdev(7, 300))),
	); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "copy")
	if err := m.CopyFrom(t.Context(), "same", CopyRequest{Source: source, Destination: copied}); !errors.Is(err, unix.EPERM) {
		t.Errorf("a tree with a disk: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(copied, "disk")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("DEVICE NODE OF A MACHINE ON THE HOST: %v", err)
	}
	if info, err := os.Stat(filepath.Join(copied, "program")); err != nil || info.Mode() != 0o755 {
		t.Errorf("program: %v, %v", info, err)
	}
}

func TestCopyRefusals(t *testing.T) {
	m := managerOf(t, "shared", hostProcess(t))
	request := CopyRequest{Source: "/etc/hostname", Destination: "/tmp/x"}
	for _, p := range []string{"", "relative", "/a/../b", "/a//b", "/./a", "/a/.", "/", "/a\x00b", "/" + strings.Repeat("x", 4096)} {
		if err := m.CopyTo(t.Context(), m.name, CopyRequest{Source: p, Destination: "/x"}); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%q: %v", p, err)
		}
	}
	if err := m.CopyTo(t.Context(), HostName, request); !errors.Is(err, ErrNotSupported) {
		t.Errorf("the host: %v", err)
	}
	if err := m.CopyTo(t.Context(), "absent", request); !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("no machine: %v", err)
	}
	m.change(func(machine *Machine) { machine.Class = ClassVM })
	if err := m.CopyFrom(t.Context(), m.name, request); !errors.Is(err, ErrNotSupported) {
		t.Errorf("a virtual machine: %v", err)
	}
}

func TestOperationsOfAMachineEndWithIt(t *testing.T) {
	m := managerOf(t, "shared", hostProcess(t))
	begun, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- m.operateIn(t.Context(), "wait", m.name, func(ctx context.Context, _ Machine, _ *Process) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	<-begun
	if err := syscall.Kill(m.leader(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrNoSuchMachine) {
		t.Errorf("operation on an ended machine: %v", err)
	}
}

func TestTooManyCopies(t *testing.T) {
	m := managerOf(t, "shared", hostProcess(t))
	for range maxOperations {
		m.operations <- struct{}{}
	}
	err := m.CopyTo(t.Context(), m.name, CopyRequest{Source: "/etc/hostname", Destination: "/tmp/x"})
	if !errors.Is(err, ErrTooManyOperations) {
		t.Errorf("one more than allowed: %v", err)
	}
	for range maxOperations {
		<-m.operations
	}
}
