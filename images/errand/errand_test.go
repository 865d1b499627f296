package errand_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/images/errand"
)

const (
	name     = "errand-of-test"
	patience = time.Minute
)

var errKnown = errors.New("known to both")

func TestMain(m *testing.M) {
	if os.Args[0] == name {
		os.Exit(run())
	}
	// With the race detector a process sleeps for a second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// order is what the process of the tests is told to do.
type order struct{ Do, Text string }

func run() int {
	var o order
	ctx, err := errand.Receive(&o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch o.Do {
	case "echo":
		text, err := io.ReadAll(errand.File(0))
		return errand.Reply(o.Text+string(text)+strings.Join(os.Environ(), " "), err, errKnown)
	case "fail":
		return errand.Reply("", fmt.Errorf("did not work: %w, %w", errKnown, unix.EXDEV), io.EOF, errKnown)
	case "die":
		fmt.Fprintln(os.Stderr, "last words")
		return 3
	case "much":
		return errand.Reply(strings.Repeat("x", 1<<20), nil)
	case "clean up":
		_ = os.WriteFile(o.Text+".up", nil, 0o600) // the parent waits for it
		<-ctx.Done()
		return errand.Reply("", errors.Join(os.WriteFile(o.Text, nil, 0o600), ctx.Err()))
	case "stop":
		_ = os.WriteFile(o.Text, fmt.Append(nil, os.Getpid()), 0o600) // the parent waits for it
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	select {}
}

// inherited is what of the environment goes along, as a test binary may need it.
func inherited() string {
	all := []string{"GOMAXPROCS=1"}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "GOCOVERDIR=") || strings.HasPrefix(e, "GORACE=") {
			all = append(all, e)
		}
	}
	return strings.Join(all, " ")
}

func TestAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(" and file "), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Setenv("SECRET", "of the daemon")
	var got string
	ended := 0
	e := errand.Errand{Name: name, Request: order{"echo", "text"}, Files: []*os.File{f}, MaxAnswer: 4096, Ended: func() { ended++ }}
	if err := e.Run(t.Context(), &got); err != nil || got != "text and file "+inherited() || ended != 1 {
		t.Errorf("%q, %v, ended %d times", got, err, ended)
	}
}

// A request may be longer than a pipe holds, which is one page for some users.
func TestLongRequest(t *testing.T) {
	none, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	text := strings.Repeat("x", 1<<20)
	var got string
	e := errand.Errand{Name: name, Request: order{"echo", text}, Files: []*os.File{none}, MaxAnswer: 2 << 20}
	if err := e.Run(t.Context(), &got); err != nil || got != text+inherited() {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestFailures(t *testing.T) {
	for do, c := range map[string]struct {
		is   []error
		says string
	}{
		"fail": {[]error{errKnown, unix.EXDEV}, "did not work: known to both, " + unix.EXDEV.Error()},
		"die":  {nil, "exit status 3: last words"},
		"much": {nil, "it answers more than 4096 bytes"},
	} {
		ended := 0
		e := errand.Errand{
			Name: name, Request: order{do, ""}, MaxAnswer: 4096, Known: []error{io.EOF, errKnown}, Ended: func() { ended++ },
		}
		err := e.Run(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, io.EOF) || ended != 1 {
			t.Errorf("%s: %v, ended %d times", do, err, ended)
		}
		for _, is := range c.is {
			if !errors.Is(err, is) {
				t.Errorf("%s: %v is not %v", do, err, is)
			}
		}
	}
}

func TestNotStarted(t *testing.T) {
	for what, e := range map[string]errand.Errand{
		"request": {Request: func() {}}, "attributes": {Request: 1, Attr: &syscall.SysProcAttr{Chroot: "/absent"}},
	} {
		ended := 0
		e.Name, e.Ended = name, func() { ended++ }
		if err := e.Run(t.Context(), nil); err == nil || ended != 1 {
			t.Errorf("%s: %v, ended %d times", what, err, ended)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errKnown)
	ended := 0
	e := errand.Errand{Name: name, Request: order{"echo", ""}, Ended: func() { ended++ }}
	if err := e.Run(ctx, nil); !errors.Is(err, errKnown) || ended != 1 {
		t.Errorf("too late: %v, ended %d times", err, ended)
	}
}

// Whoever does not hear that he is to end, or not any more, is killed.
func TestKilled(t *testing.T) {
	for _, do := range []string{"hang", "stop"} {
		file := filepath.Join(t.TempDir(), "pid")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended, gone := make(chan error), make(chan struct{})
		go func() {
			e := errand.Errand{Name: name, Request: order{do, file}, MaxAnswer: 4096, Ended: func() { close(gone) }}
			ended <- e.Run(ctx, nil)
		}()
		if do == "stop" {
			awaitStopped(t, file)
		}
		cancel(errKnown)
		if err := <-ended; !errors.Is(err, errKnown) {
			t.Errorf("%s: %v", do, err)
		}
		<-gone // by being killed: it does nothing by itself
	}
}

func awaitStopped(t *testing.T, file string) {
	t.Helper()
	await.Until(t, patience, "the process to stop", func() bool {
		pid, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		stat, err := os.ReadFile("/proc/" + string(pid) + "/stat")
		return err == nil && strings.Contains(string(stat), ") T ")
	})
}

func TestCleansUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cleaned up")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() {
		ended <- errand.Errand{Name: name, Request: order{"clean up", file}, MaxAnswer: 4096, Grace: patience}.Run(ctx, nil)
	}()
	await.Until(t, patience, "the process to begin", func() bool {
		_, err := os.Stat(file + ".up")
		return err == nil
	})
	cancel(errKnown)
	err := <-ended
	if _, missing := os.Stat(file); missing != nil || !errors.Is(err, errKnown) {
		t.Errorf("it did not clean up: %v, %v", missing, err)
	}
}

func TestStalled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	e := errand.Errand{Name: name, Request: order{"stop", file}, MaxAnswer: 4096, Stall: time.Second, Grace: patience}
	if err := e.Run(t.Context(), nil); !errors.Is(err, errand.ErrStalled) {
		t.Errorf("a stopped process: %v", err)
	}
}
