package nsenter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/fixtures/await"
	"berth/fixtures/guest/guesttest"
)

func TestExecResult(t *testing.T) {
	target := boot(t, "berth-result", guesttest.Minimal(t))
	for script, want := range map[string]Result{
		"exit 7":        {ExitCode: 7},
		"true":          {},
		"exit 127":      {ExitCode: 127},
		"kill -TERM $$": {ExitCode: 128 + 15, Signal: syscall.SIGTERM},
		"kill -KILL $$": {ExitCode: 128 + 9, Signal: syscall.SIGKILL},
	} {
		got, err := Exec(t.Context(), target, Spec{Argv: []string{"sh", "-c", script}})
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", script, got, err, want)
		}
	}
}

func TestExecStreams(t *testing.T) {
	target := boot(t, "berth-streams", guesttest.Minimal(t))
	s := newStreams(t, "from the host\n")
	_, err := Exec(t.Context(), target, s.of(Spec{Argv: []string{"sh", "-c", "cat; echo oops >&2"}}))
	if err != nil {
		t.Fatal(err)
	}
	if out, errs := read(t, s.out), read(t, s.err); out != "from the host\n" || errs != "oops\n" {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
}

func TestExecBinaryOutputThroughPipes(t *testing.T) {
	target := boot(t, "berth-binary", guesttest.Minimal(t))
	pattern := make([]byte, 1<<20)
	for i := range pattern {
		pattern[i] = byte(i * 7 >> 3)
	}
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	go func() {
		for range 8 {
			inW.Write(pattern) //nolint:errcheck // the comparison below would tell
		}
		inW.Close() //nolint:errcheck // likewise
	}()
	read := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(outR)
		read <- data
	}()
	_, err := Exec(t.Context(), target, Spec{Argv: []string{"cat"}, Stdin: inR, Stdout: outW})
	if err != nil {
		t.Fatal(err)
	}
	outW.Close() //nolint:errcheck // closed to end the reader
	if got := <-read; !bytes.Equal(got, bytes.Repeat(pattern, 8)) {
		t.Errorf("%d bytes came back, not the 8 MiB that went in", len(got))
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() }) //nolint:errcheck // may be closed
	return r, w
}

func TestExecIsInsideTheMachine(t *testing.T) {
	target := boot(t, "berth-inside", guesttest.Minimal(t))
	foreign, err := target.Foreign()
	if err != nil {
		t.Fatal(err)
	}
	if foreign&(Mount|PID|Net|UTS|IPC|User) != Mount|PID|Net|UTS|IPC|User {
		t.Fatalf("namespaces of the machine: %#x", foreign)
	}
	for kind, name := range procNames {
		if foreign&kind == 0 || kind == Cgroup || kind == Time {
			continue
		}
		want := sh(t, target, "readlink /proc/1/ns/"+name)
		if got := sh(t, target, "readlink /proc/self/ns/"+name); got != want {
			t.Errorf("%s namespace %q, that of the leader is %q", name, got, want)
		}
	}
	if got := sh(t, target, ". /etc/os-release; echo $ID; pwd -P"); got != "minimal\n/root\n" {
		t.Errorf("in the guest: %q", got)
	}
	if got := sh(t, target, "cat /proc/1/comm"); got != "init\n" && got != "sh\n" {
		t.Errorf("PID 1 of the guest is %q", got)
	}
}

func TestExecUser(t *testing.T) {
	target := boot(t, "berth-user", guesttest.Minimal(t))
	for user, want := range map[string]string{
		"":      "uid=0(root) gid=0(root)",
		"0":     "uid=0(root) gid=0(root)",
		"alice": "uid=1000(alice) gid=1000(alice) groups=50(staff),100(users)",
		"1000":  "uid=1000(alice) gid=1000(alice) groups=50(staff),100(users)",
	} {
		got := output(t, target, Spec{Argv: []string{"sh", "-c", "id; echo $HOME $USER $PWD; touch f; stat -c %u f; rm f"}, User: user})
		lines := strings.Split(got, "\n")
		// busybox counts the main group among the groups or not, by version.
		if strings.ReplaceAll(strings.ReplaceAll(lines[0], "groups=1000(alice),", "groups="), " groups=0(root)", "") != want {
			t.Errorf("user %q: %s, want %s", user, lines[0], want)
		}
		if user == "alice" && (lines[1] != "/home/alice alice /home/alice" || lines[2] != "1000") {
			t.Errorf("user %q: %q", user, lines)
		}
	}
	_, err := Exec(t.Context(), target, Spec{Argv: []string{"true"}, User: "bob"})
	if !errors.Is(err, ErrUnknownUser) {
		t.Errorf("unknown user: %v", err)
	}
}

func TestExecErrors(t *testing.T) {
	target := boot(t, "berth-errors", guesttest.Minimal(t))
	for name, c := range map[string]struct {
		spec Spec
		want error
	}{
		"absent in PATH":  {Spec{Argv: []string{"absent"}}, ErrCommandNotFound},
		"absent":          {Spec{Argv: []string{"/bin/absent"}}, ErrCommandNotFound},
		"only on host":    {Spec{Argv: []string{"/usr/bin/systemd-nspawn"}}, ErrCommandNotFound},
		"not executable":  {Spec{Argv: []string{"/etc/passwd"}}, ErrNotExecutable},
		"directory":       {Spec{Argv: []string{"/etc"}}, ErrNotExecutable},
		"no directory":    {Spec{Argv: []string{"true"}, Dir: "/absent"}, ErrNoDirectory},
		"closed to alice": {Spec{Argv: []string{"true"}, Dir: "/root", User: "alice"}, ErrNoDirectory},
		"relative dir":    {Spec{Argv: []string{"true"}, Dir: "tmp"}, ErrInvalid},
		"no command":      {Spec{}, ErrInvalid},
		"empty command":   {Spec{Argv: []string{""}}, ErrInvalid},
		"null":            {Spec{Argv: []string{"echo", "a\x00b"}}, ErrInvalid},
		"no assignment":   {Spec{Argv: []string{"true"}, Env: []string{"A"}}, ErrInvalid},
		"no name":         {Spec{Argv: []string{"true"}, Env: []string{"=a"}}, ErrInvalid},
		"empty PATH":      {Spec{Argv: []string{"true"}, Env: []string{"PATH="}}, ErrCommandNotFound},
	} {
		if _, err := Exec(t.Context(), target, c.spec); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "1")
	target := boot(t, "berth-env", guesttest.Minimal(t))
	got := output(t, target, Spec{
		Argv: []string{"env"},
		Env:  []string{"A=first", "HOME=/srv", "A=last one", "LD_PRELOAD=/absent.so", "TERM=vt100"},
	})
	lines := strings.Split(strings.TrimSpace(got), "\n")
	slices.Sort(lines)
	want := []string{
		"A=last one", "HOME=/srv", "LD_PRELOAD=/absent.so", "LOGNAME=root", "PATH=" + defaultPath,
		"SHELL=/bin/sh", "TERM=vt100", "USER=root", "container=systemd-nspawn",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("environment\n%q, want\n%q", lines, want)
	}
}

func TestExecGivesNothingOfTheHost(t *testing.T) {
	target := boot(t, "berth-leaks", guesttest.Minimal(t))
	// Descriptors that are not even close-on-exec.
	leak, err := syscall.Open("/", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak) //nolint:errcheck // only read
	// Not in a pipe, of which the shell would hold an end for a moment.
	if got := sh(t, target, "ls -1 /proc/$$/fd; true"); got != "0\n1\n2\n" {
		t.Errorf("open descriptors: %s", got)
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setgroups([]int{4242}); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setgroups(groups) //nolint:errcheck // it could a moment ago
	status := sh(t, target, "grep -E '^(CapBnd|CapInh|CapAmb|Groups|SigBlk|SigIgn|NoNewPrivs|Umask):' /proc/self/status; cut -d' ' -f5-7 /proc/self/stat")
	leader, err := os.ReadFile(procPath(target.PID, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "CapBnd":
			if !strings.Contains(string(leader), line) || strings.Contains(value, "1ffffffffff") {
				t.Errorf("bounding set %s is not the leader's", value)
			}
		case "CapInh", "CapAmb", "SigBlk", "SigIgn":
			if strings.Trim(value, "0") != "" {
				t.Errorf("%s is %s", name, value)
			}
		case "Groups":
			if value != "" {
				t.Errorf("groups %q", value)
			}
		case "Umask":
			if value != "0022" {
				t.Errorf("umask %s", value)
			}
		}
	}
	if got := sh(t, target, "ulimit -n"); got != "1024\n" {
		t.Errorf("limit of open files: %s", got)
	}
	user := output(t, target, Spec{Argv: []string{"grep", "^Cap[PE]", "/proc/self/status"}, User: "alice"})
	if strings.Trim(user, "CapPrmEf:\t\n0") != "" {
		t.Errorf("capabilities of a plain user: %s", user)
	}
}

func TestExecNullStreamsAreTheGuests(t *testing.T) {
	target := boot(t, "berth-null", guesttest.Minimal(t))
	s := newStreams(t, "")
	result, err := Exec(t.Context(), target, Spec{
		Argv: []string{"sh", "-c", "stat -L -c %d /proc/self/fd/0 /dev/null >&2; echo lost"}, Stderr: s.err,
	})
	if err != nil || result.ExitCode != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	devices := strings.Fields(read(t, s.err))
	if len(devices) != 2 || devices[0] != devices[1] {
		t.Errorf("stdin is on device %q, the guest's /dev/null on the second", devices)
	}
}

func TestExecWithoutWaitingForChildren(t *testing.T) {
	target := boot(t, "berth-children", guesttest.Minimal(t))
	outR, outW := pipe(t)
	result, err := Exec(t.Context(), target, Spec{
		Argv: []string{"sh", "-c", "sleep 1000 & echo $!"}, Stdout: outW,
	})
	if err != nil || result != (Result{}) {
		t.Fatalf("%+v, %v", result, err)
	}
	line := make([]byte, 32)
	n, err := outR.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	child := strings.TrimSpace(string(line[:n]))
	if got := sh(t, target, "cat /proc/"+child+"/comm"); got != "sleep\n" {
		t.Errorf("the child that was left behind: %q", got)
	}
	// It is the machine's now, and the group of its command is gone.
	its, err := unifiedPath(procPath(target.PID, "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	mount, err := unifiedMount()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := filepath.Glob(filepath.Join(mount, its, "exec-*"))
	if err != nil || len(groups) > 0 {
		t.Errorf("control groups left: %v, %v", groups, err)
	}
}

func TestExecCancelKillsEverything(t *testing.T) {
	target := boot(t, "berth-cancel", guesttest.Minimal(t))
	outR, outW := pipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		// The grandchild leaves the session and the process group.
		_, err := Exec(ctx, target, Spec{
			Argv: []string{"sh", "-c", "setsid sleep 1001 & echo started; sleep 1002"}, Stdout: outW,
		})
		ended <- err
	}()
	if _, err := outR.Read(make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a canceled command goes on")
	}
	await.Until(t, patience, "the command's processes to end", func() bool {
		return !strings.Contains(sh(t, target, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), "sleep 100")
	})
}

func TestExecAfterTheLeader(t *testing.T) {
	tree := guesttest.Minimal(t)
	target := boot(t, "berth-gone", tree)
	if err := syscall.Kill(target.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Until(t, patience, "leader to end", func() bool { return target.Alive() != nil })
	if _, err := Exec(t.Context(), target, Spec{Argv: []string{"true"}}); !errors.Is(err, ErrGone) {
		t.Errorf("error %v", err)
	}
	if _, err := target.Root(); !errors.Is(err, ErrGone) {
		t.Errorf("root of an ended machine: error %v", err)
	}
}

func TestExecInOwnNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	target := open(t, os.Getpid())
	want, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := sh(t, target, "uname -n"); got != want+"\n" {
		t.Errorf("host name %q, want %q", got, want)
	}
}

func TestExecDebian(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: boots a Debian guest, not in -short")
	}
	target := boot(t, "berth-exec-debian", guesttest.Debian(t))
	await.Until(t, patience, "the guest to be up", func() bool {
		s := newStreams(t, "")
		_, err := Exec(t.Context(), target, s.of(Spec{Argv: []string{"systemctl", "is-system-running"}}))
		if err != nil {
			t.Fatal(err)
		}
		return read(t, s.out) == "running\n"
	})
	if got := sh(t, target, "systemd-detect-virt"); got != "systemd-nspawn\n" {
		t.Errorf("virtualization %q", got)
	}
	if got := sh(t, target, "systemctl --failed --no-legend"); got != "" {
		t.Errorf("failed units: %s", got)
	}
}

func TestExecManyAtOnce(t *testing.T) {
	target := boot(t, "berth-many", guesttest.Minimal(t))
	errs := make(chan error)
	const n = 32
	for i := range n {
		go func() {
			result, err := Exec(t.Context(), target, Spec{Argv: []string{"sh", "-c", "exit " + strconv.Itoa(i)}})
			if err == nil && result.ExitCode != i {
				err = errors.New("exit code of another command: " + strconv.Itoa(result.ExitCode))
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
