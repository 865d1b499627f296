package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/fixtures/faultserver"
	"berth/fixtures/keys"
	"berth/fixtures/ownhost"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The command lines in this file are those of systemd-sysupdate.

func TestSysupdateReadsTheManifest(t *testing.T) {
	b := newBench(t)
	b.signs()
	list := []byte(digest(nil) + "  file\n")
	from := b.serve("SHA256SUMS", list)
	b.serve("SHA256SUMS.gpg", b.key.Sign(t, list, keys.SignOptions{}))
	if got := b.must("systemd-pull", "raw", "--direct", "--verify", "signature", from, "-"); !bytes.Equal(got, list) {
		t.Errorf("manifest is %q", got)
	}
	b.serve("SHA256SUMS", append(list, '\n'))
	out, err := b.run(nil, "systemd-pull", "raw", "--direct", "--verify", "signature", from, "-")
	if err == nil || len(out) > 0 {
		t.Errorf("a manifest that was changed: %v, %d bytes came out", err, len(out))
	}
	b.serve("SHA256SUMS.gpg", keys.New(t, "stranger").Sign(t, list, keys.SignOptions{}))
	b.refused("key", "systemd-pull", "raw", "--direct", "--verify", "signature", from, "-")
	if got := b.must("systemd-pull", "raw", "--direct", "--verify", "no", from, "-"); len(got) == 0 {
		t.Error("unverified manifest is empty")
	}
	b.refused("is a signature", "systemd-pull", "raw", "--direct", "--verify", "signature", from+".gpg", "-")
}

func TestSysupdatePullsFiles(t *testing.T) {
	b := newBench(t)
	disk := append(noise(1<<20), make([]byte, 1<<20)...)
	packed := gzipped(t, disk)
	from, to := b.serve("a.raw.gz", packed), b.path("dir/.sysupdate.partial.1")
	b.must("systemd-pull", "raw", "--direct", "--verify", digest(packed), "--sync=yes", "--zero-fill=no", from, to)
	if !bytes.Equal(b.read(to), disk) {
		t.Error("the file is another than the disk")
	}
	b.must("systemd-pull", "raw", "--direct", "--verify", digest([]byte("xy")), "--sync=no", b.serve("tiny", []byte("xy")), to)
	if got := b.read(to); string(got) != "xy" {
		t.Errorf("file of two bytes over a longer one: %d bytes", len(got))
	}
	b.refused("the download is invalid", "systemd-pull", "raw", "--direct", "--verify", digest(disk), from, b.path("bad"))
	b.absent(b.path("bad"))
	b.server.Set("/cut", faultserver.Answer{Body: packed, Fault: faultserver.Stall, At: 1000})
	b.leave(b.server.URL("/cut"), b.path("left"))
	b.absent(b.path("left"))
	b.must("systemd-import", "raw", "--direct", "--sync=yes", b.write("local.xz", packed), to)
	if !bytes.Equal(b.read(to), disk) {
		t.Error("the imported file is another than the disk")
	}
}

// leave starts a pull that stalls and ends it once it has made its target.
func (b *bench) leave(from, to string) {
	b.t.Helper()
	cmd := b.command("systemd-pull", "raw", "--direct", "--verify=no", from, to)
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	line := make([]byte, 1)
	if _, err := io.ReadFull(said, line); err != nil {
		b.t.Error(err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		b.t.Error(err)
	}
	rest, err := io.ReadAll(said)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		b.t.Errorf("a pull that was ended: %v", err)
	}
	if err != nil || !strings.Contains(string(rest), "canceled") {
		b.t.Errorf("it said %q, %v", rest, err)
	}
}

func TestSysupdateFillsPartitions(t *testing.T) {
	b := newBench(t)
	const size, offset, room = 8 << 20, 1 << 20, 4 << 20
	backing := b.write("backing", bytes.Repeat([]byte{'A'}, size))
	loop, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", backing).Output()
	if err != nil {
		t.Skipf("NOT TESTED: needs loop devices: %v", err)
	}
	device := strings.TrimSpace(string(loop))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil { //nolint:noctx // after the test's context
			t.Errorf("%v: %s", err, out)
		}
	})
	disk := append(noise(1<<20), make([]byte, 1<<20)...)
	packed := gzipped(t, disk)
	from := b.serve("part.gz", packed)
	where := []string{"--direct", "--offset", strconv.Itoa(offset), "--size-max", strconv.Itoa(room), "--sync=yes"}
	pull := append([]string{"raw", "--verify", digest(packed)}, where...)
	want := bytes.Repeat([]byte{'A'}, size)
	copy(want[offset:], disk)
	b.must("systemd-pull", append(pull, "--zero-fill=no", from, device)...)
	if !bytes.Equal(b.read(device), want) {
		t.Error("the device has other content without --zero-fill=")
	}
	clear(want[offset : offset+room])
	copy(want[offset:], disk[:100])
	b.must("systemd-import", append(append([]string{"raw"}, where...), "--zero-fill=yes", b.write("short", disk[:100]), device)...)
	if !bytes.Equal(b.read(device), want) {
		t.Error("the device has other content with --zero-fill=")
	}
	b.refused("too large", "systemd-import", append(append([]string{"raw"}, where...), b.write("long", noise(room+1)), device)...)
	if !bytes.Equal(b.read(device)[offset+room:], want[offset+room:]) {
		t.Error("more was written than --size-max= allows")
	}
}

func TestSysupdateMakesTrees(t *testing.T) {
	b := newBench(t)
	packed := b.archive()
	from := b.serve("os.tar.gz", packed)
	for i, args := range [][]string{
		{"systemd-pull", "tar", "--direct", "--verify", digest(packed), "--btrfs-subvol=no", "--sync=yes", from},
		{"systemd-import", "tar", "--direct", "--sync=no", "--btrfs-subvol=yes", b.write("os.tar.gz", packed)},
		{"systemd-import-fs", "run", "--direct", "--sync=no", "--btrfs-subvol=no", b.path("os-1")},
	} {
		to := b.path("tree" + strconv.Itoa(i))
		b.must(args[0], append(args[1:], to)...)
		if got := b.read(filepath.Join(to, "usr/lib/os-release")); string(got) != "ID=test\n" {
			t.Errorf("%s: os-release is %q", args[0], got)
		}
	}
	b.write("tree0/stale", nil)
	b.must("systemd-import", "tar", "--direct", "--force", "--sync=no", b.path("os.tar.gz"), b.path("tree0"))
	b.absent(b.path("tree0/stale"))
	b.refused("the download is invalid", "systemd-pull", "tar", "--direct", "--verify", digest(nil), from, b.path("bad"))
	b.absent(b.path("bad"))
	b.refused("no path", "systemd-import", "tar", "--direct", b.path("os.tar.gz"))
}

// TestSysupdateSeesProgress plays the part of the caller, which takes
// notifications from its child alone.
func TestSysupdateSeesProgress(t *testing.T) {
	b := newBench(t)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@berth-test-" + strconv.Itoa(os.Getpid()), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		t.Fatal(err)
	}
	b.environment = append(b.environment, "NOTIFY_SOCKET="+socket.LocalAddr().String())
	b.server.Set("/slow", faultserver.Answer{Body: noise(200 << 10), Pace: 2 * time.Millisecond})
	cmd := b.command("systemd-pull", "raw", "--direct", "--verify=no", b.server.URL("/slow"), b.path("to"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	end, err := net.DialUnix("unixgram", nil, socket.LocalAddr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := end.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	last, seen := -1, 0
	for {
		text, control := make([]byte, 4096), make([]byte, 256)
		n, nc, _, _, err := socket.ReadMsgUnix(text, control)
		if err != nil {
			t.Fatal(err)
		}
		if string(text[:n]) == "end" {
			break
		}
		sender := senderOf(t, control[:nc])
		number, ok := strings.CutPrefix(string(text[:n]), "X_IMPORT_PROGRESS=")
		percent, err := strconv.Atoi(strings.TrimSuffix(number, "%"))
		if !ok || err != nil || percent <= last || percent > 100 || sender != cmd.Process.Pid {
			t.Errorf("notification %q after %d%% of process %d, the child is %d", text[:n], last, sender, cmd.Process.Pid)
		}
		last = percent
		seen++
	}
	if seen == 0 {
		t.Error("no progress was told")
	}
}

func senderOf(t *testing.T, control []byte) int {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v", len(messages), err)
	}
	cred, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	return int(cred.Pid)
}

// TestWithoutTheRightToMakeNamespaces: a service may be root and yet may not unshare
// the network; the cage keeps the unpacker from it all the same.
func TestWithoutTheRightToMakeNamespaces(t *testing.T) {
	b := newBench(t)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("NOT TESTED: needs setpriv (Debian package util-linux)")
	}
	if err := ownhost.Build(t.Context(), b.dir, "importd"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("importd", b.path("systemd-import")); err != nil {
		t.Fatal(err)
	}
	disk := noise(1000)
	out, err := exec.CommandContext(t.Context(), setpriv, "--bounding-set=-sys_admin", b.path("systemd-import"),
		"raw", "--direct", b.write("from", disk), b.path("to")).CombinedOutput()
	if err != nil || !bytes.Equal(b.read(b.path("to")), disk) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestLogForAnImportd(t *testing.T) {
	b := newBench(t)
	b.environment = append(b.environment, "SYSTEMD_LOG_TARGET=console-prefixed", "SYSTEMD_LOG_LEVEL=5")
	cmd := b.command("systemd-import", "raw", "/nowhere/a.raw")
	out, err := cmd.CombinedOutput()
	want := "<3>open what to import: open /nowhere/a.raw: no such file or directory\n"
	if diff := cmp.Diff(want, string(out)); diff != "" || err == nil {
		t.Errorf("%v, %s", err, diff)
	}
}
