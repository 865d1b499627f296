package nsenter

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	testgroup "berth/fixtures/cgroup"
	"berth/fixtures/guest/guesttest"
)

const (
	// plainUID is a user that no host has.
	plainUID = 4711
	// plainLeader tells a test that it runs as that user, and of which machine.
	plainLeader = "BERTH_TEST_LEADER"
	plainTree   = "BERTH_TEST_TREE"
)

// asPlainUser has the test run a second time, as a plain user with a machine of
// his own, which is prepared before by root. It returns in there only: whoever sees
// ok as false is done.
func asPlainUser(t *testing.T, ids guesttest.Ids, prepare ...func(leader int)) (target Target, tree string, ok bool) {
	t.Helper()
	if leader := os.Getenv(plainLeader); leader != "" {
		pid, err := strconv.Atoi(leader)
		if err != nil {
			t.Fatal(err)
		}
		return open(t, pid), os.Getenv(plainTree), true
	}
	machine := guesttest.StartOfUser(t, plainUID, ids)
	for _, p := range prepare {
		p(machine.Leader)
	}
	// By this name, as the directory it is in may be closed to that user.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), plainLeader+"="+strconv.Itoa(machine.Leader), plainTree+"="+machine.Tree, "TMPDIR=/var/tmp")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: plainUID, Gid: plainUID}}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("as user %d: %v\n%s", plainUID, err, out)
	case bytes.Contains(out, []byte("--- SKIP")) || !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("as user %d nothing was tested:\n%s", plainUID, out)
	}
	return Target{}, "", false
}

func TestPlainUserExec(t *testing.T) {
	target, _, ok := asPlainUser(t, guesttest.OneID)
	if !ok {
		return
	}
	result, err := Exec(t.Context(), target, Spec{Argv: []string{"sh", "-c", "exit 7"}})
	if err != nil || result.ExitCode != 7 {
		t.Errorf("%+v, %v", result, err)
	}
	result, err = Exec(t.Context(), target, Spec{Argv: []string{"sh", "-c", "kill -KILL $$"}})
	if err != nil || result != (Result{ExitCode: 137, Signal: syscall.SIGKILL}) {
		t.Errorf("%+v, %v", result, err)
	}
	const namespaces = "; for n in user mnt pid net uts ipc; do readlink $n; done"
	want := sh(t, target, "cd /proc/1/ns"+namespaces)
	if got := sh(t, target, "cd /proc/self/ns"+namespaces); got != want || strings.Count(got, "\n") != 6 {
		t.Errorf("namespaces\n%s, those of the leader are\n%s", got, want)
	}
	if got := sh(t, target, "id -u; cat /etc/hostname; echo $container; cat /proc/1/comm"); got != "0\nminimal\nunshare\ninit\n" {
		t.Errorf("in the guest: %q", got)
	}
	// It leads its session, and holds nothing but its streams.
	if got := sh(t, target, "cut -d' ' -f5,6 /proc/$$/stat; echo $$ $$; ls -1 /proc/$$/fd; true"); !strings.HasSuffix(got, "\n0\n1\n2\n") ||
		strings.Split(got, "\n")[0] != strings.Split(got, "\n")[1] {
		t.Errorf("group, session and descriptors: %q", got)
	}
	if _, err := Exec(t.Context(), target, Spec{Argv: []string{"absent"}}); !errors.Is(err, ErrCommandNotFound) {
		t.Errorf("absent command: %v", err)
	}
	// Nobody but the user is there.
	_, err = Exec(t.Context(), target, Spec{Argv: []string{"true"}, User: "alice"})
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "user 1000") {
		t.Errorf("user outside of the user namespace: %v", err)
	}
	noChildren(t)
}

// noChildren fails if a child of this process was left behind.
func noChildren(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("child %d was left behind (%v)", pid, err)
	}
}

// A user may own the control group of his machine and not have the right to move
// there from his own.
func TestPlainUserExecInAGroupApart(t *testing.T) {
	group := ""
	if os.Getenv(plainLeader) == "" {
		group = ownGroup(t)
	}
	target, _, ok := asPlainUser(t, guesttest.OneID, func(leader int) {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(leader)), 0); err != nil {
			t.Fatal(err)
		}
	})
	if !ok {
		return
	}
	made, err := target.newCgroup(false)
	if err != nil || made == nil {
		t.Fatalf("no group can be made: %v", err)
	}
	if err := made.release(); err != nil {
		t.Error(err)
	}
	if got := sh(t, target, "id -u"); got != "0\n" {
		t.Errorf("in the guest: %q", got)
	}
}

// ownGroup is a control group that is delegated to the plain user.
func ownGroup(t *testing.T) string {
	t.Helper()
	path, err := testgroup.Make("berth-test-" + strings.ToLower(rand.Text()[:8]))
	if errors.Is(err, testgroup.ErrUnavailable) {
		t.Skip("NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(testgroup.Kill(path), testgroup.Remove(path)); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{".", "cgroup.procs"} {
		if err := os.Chown(filepath.Join(path, name), plainUID, plainUID); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestPlainUserExecInRange(t *testing.T) {
	target, _, ok := asPlainUser(t, guesttest.RangeOfIDs)
	if !ok {
		return
	}
	got := output(t, target, Spec{Argv: []string{"sh", "-c", "id -u; id -g; id -G; echo $HOME $PWD; touch f && stat -c %u:%g f"}, User: "alice"})
	// The groups of busybox begin with the main one or not, by version.
	if got = strings.Replace(got, "\n1000 50 100\n", "\n50 100\n", 1); got != "1000\n1000\n50 100\n/home/alice /home/alice\n1000:1000\n" {
		t.Errorf("as a user of the guest: %q", got)
	}
	if got := output(t, target, Spec{Argv: []string{"grep", "^Cap[PE]", "/proc/self/status"}, User: "alice"}); strings.Trim(got, "CapPrmEf:\t\n0") != "" {
		t.Errorf("capabilities of a plain user: %s", got)
	}
	if got := sh(t, target, "id -G; echo x >/root/f && cat /root/f"); got != "0\nx\n" {
		t.Errorf("as the guest's root: %q", got)
	}
}

func TestPlainUserExecCancel(t *testing.T) {
	target, _, ok := asPlainUser(t, guesttest.OneID)
	if !ok {
		return
	}
	outR, outW := pipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := Exec(ctx, target, Spec{Argv: []string{"sh", "-c", "echo started; sleep 1001; true"}, Stdout: outW})
		ended <- err
	}()
	if _, err := outR.Read(make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	await.Until(t, patience, "end of the command's group", func() bool {
		return !strings.Contains(sh(t, target, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), "sleep 1001")
	})
	noChildren(t)
}

func TestPlainUserTerminal(t *testing.T) {
	for name, ids := range map[string]guesttest.Ids{"one": guesttest.OneID, "range": guesttest.RangeOfIDs} {
		t.Run(name, func(t *testing.T) { plainUserTerminal(t, ids) })
	}
}

func plainUserTerminal(t *testing.T, ids guesttest.Ids) {
	target, _, ok := asPlainUser(t, ids)
	if !ok {
		return
	}
	p, err := target.OpenPTY(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Master.Close() //nolint:errcheck // of a test
	peer, err := p.Peer()
	if err != nil {
		t.Fatal(err)
	}
	// As the controlling terminal, whose interrupt reaches the command.
	started := make(chan struct{})
	ended := make(chan Result, 1)
	go func() {
		result, err := Exec(t.Context(), target, Spec{
			Argv:  []string{"sh", "-c", "stat -c %u " + p.Path() + "; tty; exec sleep 1000"},
			Stdin: peer, Stdout: peer, Stderr: peer, Terminal: true, Started: func() { close(started) },
		})
		if err != nil {
			t.Error(err)
			close(started)
		}
		ended <- result
	}()
	<-started
	var seen strings.Builder
	for b := make([]byte, 64); !strings.Contains(seen.String(), p.Path()+"\r\n"); {
		n, err := p.Master.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, seen.String())
		}
		seen.Write(b[:n])
	}
	if !strings.HasPrefix(seen.String(), "0\r\n") {
		t.Errorf("the other end belongs to %q", seen.String())
	}
	if _, err := p.Master.Write([]byte{3}); err != nil { // interrupt
		t.Fatal(err)
	}
	if got := <-ended; got.Signal != syscall.SIGINT {
		t.Errorf("interrupted: %+v", got)
	}
	if err := peer.Close(); err != nil {
		t.Error(err)
	}
}

func TestPlainUserSocket(t *testing.T) {
	target, _, ok := asPlainUser(t, guesttest.OneID)
	if !ok {
		return
	}
	socket, err := target.Socket(t.Context(), unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close() //nolint:errcheck // of a test
	its, err := unix.IoctlRetInt(int(socket.Fd()), unix.SIOCGSKNS)
	if err != nil {
		t.Fatal(err)
	}
	ns := os.NewFile(uintptr(its), "namespace")
	defer ns.Close() //nolint:errcheck // of a test
	got, err := identity("/proc/self/fd/" + strconv.Itoa(its))
	want, err2 := identity(target.proc("ns/net"))
	if err != nil || err2 != nil || got != want {
		t.Errorf("made in %v, the machine is in %v (%v, %v)", got, want, err, err2)
	}
}

// The service in the machine sees the machine's own root, as one of its processes.
func TestPlainUserConnect(t *testing.T) {
	target, tree, ok := asPlainUser(t, guesttest.OneID)
	if !ok {
		return
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(tree, "run/s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // of a test
	conn, err := target.Connect(t.Context(), "/run/s")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // of a test
	accepted, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close() //nolint:errcheck // of a test
	raw, err := accepted.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var peer *unix.Ucred
	var errPeer error
	if err := raw.Control(func(fd uintptr) { peer, errPeer = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || errPeer != nil {
		t.Fatal(err, errPeer)
	}
	// Seen from outside the machine's root is the user.
	if peer.Uid != plainUID {
		t.Errorf("client is user %d", peer.Uid)
	}
	if _, err := target.Connect(t.Context(), "/etc/passwd"); !errors.Is(err, ErrNotSocket) {
		t.Errorf("a file: %v", err)
	}
	noChildren(t)
}

func TestPlainUserMount(t *testing.T) {
	for name, ids := range map[string]guesttest.Ids{"one": guesttest.OneID, "range": guesttest.RangeOfIDs} {
		t.Run(name, func(t *testing.T) { plainUserMount(t, ids) })
	}
}

func plainUserMount(t *testing.T, ids guesttest.Ids) {
	target, _, ok := asPlainUser(t, ids)
	if !ok {
		return
	}
	source := t.TempDir()
	if err := errors.Join(os.Chmod(source, 0o755), os.WriteFile(filepath.Join(source, "f"), []byte("of the host\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	root, err := target.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // of a test
	if err := target.Make(t.Context(), root, "made", unix.S_IFDIR|0o750); err != nil {
		t.Fatal(err)
	}
	if err := target.Make(t.Context(), root, "file", unix.S_IFREG|0o640); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, target, "stat -c '%F %u:%g %a' /made /file"); got != "directory 0:0 750\nregular empty file 0:0 640\n" {
		t.Errorf("made: %q", got)
	}
	for _, readOnly := range []bool{false, true} {
		tree, err := DetachedMount(t.Context(), source, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		point, err := OpenPath(root, "/made")
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(target.Attach(t.Context(), tree, point), tree.Close(), point.Close())
		if err != nil {
			t.Fatal(err)
		}
		if got := sh(t, target, "cat /made/f"); got != "of the host\n" {
			t.Errorf("in the mount: %q", got)
		}
		if got := sh(t, target, "touch /made/g 2>&1; true"); strings.Contains(got, "Read-only") != readOnly {
			t.Errorf("read-only %v: %q", readOnly, got)
		}
		sh(t, target, "umount /made")
	}
	if _, err := DetachedMount(t.Context(), "/absent", false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent source: %v", err)
	}
	noChildren(t)
}

// Without a user namespace of its own a machine of a user is closed to him.
func TestPlainUserWithoutNamespace(t *testing.T) {
	_, _, ok := asPlainUser(t, guesttest.OneID)
	if !ok {
		return
	}
	if _, err := Exec(t.Context(), open(t, os.Getpid()), Spec{Argv: []string{"true"}}); !errors.Is(err, ErrNoUserNamespace) {
		t.Errorf("command: %v", err)
	}
}

// An errand ends with its context, whatever holds it up.
func TestErrandIsKilled(t *testing.T) {
	target := boot(t, "berth-errand", guesttest.Minimal(t))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := target.visit(ctx, User|PID, errand{calls: []call{{nr: unix.SYS_PAUSE}}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	noChildrenButNspawn(t)
}

// noChildrenButNspawn is noChildren beside a machine that this process has started.
func noChildrenButNspawn(t *testing.T) {
	t.Helper()
	children, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range children {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%s/children", thread.Name()))
		if err != nil {
			continue // it has ended
		}
		for pid := range strings.FieldsSeq(string(text)) {
			if name, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil && !strings.HasPrefix(string(name), "systemd-nspawn") {
				t.Errorf("child %s is left: %s", pid, name)
			}
		}
	}
}

// What is fetched and what fails.
func TestErrand(t *testing.T) {
	target := boot(t, "berth-errand2", guesttest.Minimal(t))
	f, err := target.visit(t.Context(), Net, errand{fetch: true, calls: []call{{
		nr: unix.SYS_SOCKET, args: [6]arg{num(unix.AF_INET), num(unix.SOCK_DGRAM | unix.SOCK_CLOEXEC)}, opens: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err := errors.Join(err, f.Close()); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	_, err = target.visit(t.Context(), Net, errand{calls: []call{{nr: unix.SYS_CLOSE, args: [6]arg{num(4000)}}, {nr: unix.SYS_PAUSE}}})
	if !errors.Is(err, unix.EBADF) {
		t.Errorf("a call that fails: %v", err)
	}
}
