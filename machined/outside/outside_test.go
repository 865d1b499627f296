package outside

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"berth/machined"
	"berth/machined/nsenter"
)

func TestMain(m *testing.M) {
	if os.Args[0] == Name {
		os.Exit(Main())
	}
	goleak.VerifyTestMain(m)
}

// starter starts services as children of this process, in no unit.
type starter struct {
	started chan int
	stopped chan string
	argv    []string // in place of the program
}

func (s starter) StartService(_ context.Context, service machined.Service) (*machined.Process, error) {
	if s.argv != nil {
		service.Path, service.Args = s.argv[0], s.argv
	}
	service.Files = append(service.Files, os.Stderr, os.Stderr)
	p, err := machined.StartProcess(service, syscall.SysProcAttr{})
	if err == nil {
		s.started <- p.PID
	}
	return p, err
}

func (s starter) Stop(_ context.Context, unit machined.Unit, _ time.Duration, _ ...*machined.Process) error {
	s.stopped <- unit.Name
	return nil
}

func commands(t *testing.T, argv ...string) (Commands, starter) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	s := starter{make(chan int, 10), make(chan string, 10), argv}
	c, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// collect takes the status of a program that has to end.
func (s starter) collect(t *testing.T) {
	t.Helper()
	var status unix.WaitStatus
	if _, err := unix.Wait4(<-s.started, &status, 0, nil); err != nil {
		t.Error(err)
	}
}

// machine is a process in namespaces of its own, which is all that matters here.
func machine(t *testing.T) nsenter.Target {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	target, err := nsenter.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.PIDFD.Close() })
	return target
}

// output runs a command and returns what it wrote to each stream.
func output(t *testing.T, c Commands, spec nsenter.Spec) (out, errs string, result nsenter.Result, err error) {
	t.Helper()
	var texts [2]bytes.Buffer
	var writers [2]*os.File
	done := make(chan error, 2)
	for i := range texts {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		writers[i] = w
		go func() {
			_, err := io.Copy(&texts[i], r)
			done <- errors.Join(err, r.Close())
		}()
	}
	spec.Stdout, spec.Stderr = writers[0], writers[1]
	result, err = c.Exec(t.Context(), machine(t), spec)
	for _, w := range writers {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	for range texts {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return texts[0].String(), texts[1].String(), result, err
}

func TestCommand(t *testing.T) {
	c, s := commands(t)
	started := 0
	out, errs, result, err := output(t, c, nsenter.Spec{
		Argv: []string{"sh", "-c", "echo $WORD; pwd; echo oops >&2; exit 7"}, Env: []string{"WORD=seven"}, Dir: "/usr",
		Started: func() { started++ },
	})
	if out != "seven\n/usr\n" || errs != "oops\n" || result != (nsenter.Result{ExitCode: 7}) || err != nil || started != 1 {
		t.Errorf("%q, %q, %+v, %v, started %d times", out, errs, result, err, started)
	}
	s.collect(t)
	_, _, result, err = output(t, c, nsenter.Spec{Argv: []string{"sh", "-c", "kill -TERM $$"}})
	if result != (nsenter.Result{ExitCode: 143, Signal: syscall.SIGTERM}) || err != nil {
		t.Errorf("%+v, %v", result, err)
	}
	s.collect(t)
}

// More than fits into a socket's buffer, and without standard input.
func TestLongCommand(t *testing.T) {
	c, s := commands(t)
	var env []string
	for i := range 2000 {
		env = append(env, "V"+strconv.Itoa(i)+"="+strings.Repeat("x", 500))
	}
	out, _, _, err := output(t, c, nsenter.Spec{Argv: []string{"sh", "-c", "echo ${#V1999}; readlink /proc/self/fd/0"}, Env: env, Dir: "/"})
	if out != "500\n/dev/null\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	s.collect(t)
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	c, s := commands(t)
	for want, spec := range map[error]nsenter.Spec{
		nsenter.ErrCommandNotFound: {Argv: []string{"/absent"}}, nsenter.ErrNotExecutable: {Argv: []string{"/etc/passwd"}},
		nsenter.ErrNoDirectory: {Argv: []string{"true"}, Dir: "/absent"}, nsenter.ErrInvalid: {},
		nsenter.ErrUnknownUser: {Argv: []string{"true"}, User: "no-such-user"},
	} {
		if _, _, _, err := output(t, c, spec); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		s.collect(t)
	}
}

// running starts a command that ends by itself only in a quarter of an hour.
func running(t *testing.T, ctx context.Context, c Commands) (ended <-chan error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // of a test
	result := make(chan error, 1)
	target := machine(t)
	go func() {
		_, err := c.Exec(ctx, target, nsenter.Spec{Argv: []string{"sh", "-c", "echo runs; exec sleep 1000"}, Stdout: w})
		result <- errors.Join(err, w.Close())
	}()
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return result
}

func TestCommandOfAClientThatLeaves(t *testing.T) {
	c, s := commands(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := running(t, ctx, c)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s.collect(t) // it waits for its command
	if len(s.stopped) > 0 {
		t.Error("a unit that ends by itself was stopped")
	}
}

func TestProgramThatIsKilled(t *testing.T) {
	c, s := commands(t)
	ended := running(t, t.Context(), c)
	pid := <-s.started
	// Here no service manager kills what is left.
	children, err := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed together") {
		t.Errorf("error %v", err)
	}
	for child := range strings.FieldsSeq(string(children)) {
		n, err := strconv.Atoi(child)
		if err == nil {
			err = unix.Kill(n, unix.SIGKILL)
		}
		if err != nil {
			t.Error(err)
		}
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		t.Error(err)
	}
}

// What does not end when it is told to is stopped with its unit.
func TestProgramThatDoesNotListen(t *testing.T) {
	c, s := commands(t, "/bin/sleep", "1000")
	c.limit = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	target := machine(t)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, target, nsenter.Spec{Argv: []string{"true"}})
		ended <- err
	}()
	pid := <-s.started
	cancel()
	if unit := <-s.stopped; !strings.HasPrefix(unit, UnitPrefix) {
		t.Errorf("unit %s", unit)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		t.Error(err)
	}
}
