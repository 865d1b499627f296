package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"berth/fixtures/faultserver"
	"berth/fixtures/ownhost"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

var commands = map[string]func(){"importctl": main}

func TestMain(m *testing.M) {
	if _, command := commands[filepath.Base(os.Args[0])]; !command {
		status, done, err := ownhost.Enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if done {
			os.Exit(status)
		}
	}
	testscript.Main(checked{m}, commands)
}

// checked fails tests that leave goroutines behind.
type checked struct{ *testing.M }

func (c checked) Run() int {
	status := c.M.Run()
	if err := goleak.Find(); status == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// TestScripts holds the contract of the command line, against the real daemon.
func TestScripts(t *testing.T) {
	if !ownhost.Inside() {
		t.Skip("NOT TESTED: needs root")
	}
	bin := t.TempDir()
	if err := ownhost.Build(t.Context(), bin, "importd"); err != nil {
		t.Fatal(err)
	}
	daemon, err := ownhost.Start(filepath.Join(bin, "importd"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, err := daemon.Stop(); err != nil {
			t.Errorf("%v\n%s", err, log)
		}
	})
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		// One after the other: they share a daemon. The scripts of one run would
		// be parallel.
		t.Run("script", func(t *testing.T) { runScript(t, script) })
	}
}

func runScript(t *testing.T, script string) {
	server := faultserver.Start(t)
	server.Set("/endless.tar", faultserver.Answer{Zeros: 1 << 30, Fault: faultserver.Stall, At: 1 << 20})
	testscript.Run(t, testscript.Params{
		Files: []string{script},
		Setup: func(e *testscript.Env) error {
			e.Setenv("URL", server.URL(""))
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // commands are this test binary
			server.Dir("/files/", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await, "cancel": cancel},
	})
}

// patience is how long something may take that a script waits for.
const patience = 30 * time.Second

// await runs a command again and again until its output matches a pattern.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await pattern command args...")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if err := ts.Exec(args[1], args[2:]...); err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	ts.Fatalf("%v never printed %q, last: %s", args[1:], args[0], ts.ReadFile("stdout"))
}

// cancel runs the command to cancel a transfer that the tool printed to standard
// error.
func cancel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: cancel")
	}
	found := regexp.MustCompile(`importctl cancel-transfer (\d+)`).FindStringSubmatch(ts.ReadFile("stderr"))
	if found == nil {
		ts.Fatalf("no command to cancel with in %q", ts.ReadFile("stderr"))
	}
	if _, err := strconv.Atoi(found[1]); err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Check(ts.Exec("importctl", "cancel-transfer", found[1]))
}
