package nsenter

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/fixtures/guest/guesttest"
	"berth/machined/runner"
)

// patience is the longest that anything is waited for.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if socket := os.Getenv(filtered); socket != "" {
		os.Exit(actFiltered(socket))
	}
	if os.Getenv(dying) != "" {
		os.Exit(actDying())
	}
	if tree := os.Getenv(hostile); tree != "" {
		os.Exit(actHostile(tree))
	}
	goleak.VerifyTestMain(m)
}

// boot starts the minimal guest, or the given tree, and returns its leader.
func boot(t *testing.T, name, tree string) Target {
	t.Helper()
	nspawn, err := runner.FindNspawn()
	if errors.Is(err, runner.ErrNotInstalled) {
		t.Skip("NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	command, err := nspawn.Command(runner.Spec{Machine: name, Directory: tree})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, guesttest.Start(t, command.Argv, command.Env).Leader)
}

func open(t *testing.T, pid int) Target {
	t.Helper()
	target, err := Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.PIDFD.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

// streams are the standard streams of a command, kept in files so that any
// amount of output fits.
type streams struct{ in, out, err *os.File }

func (s streams) of(spec Spec) Spec {
	spec.Stdin, spec.Stdout, spec.Stderr = s.in, s.out, s.err
	return spec
}

func newStreams(t *testing.T, input string) streams {
	t.Helper()
	dir := t.TempDir()
	var s streams
	for name, f := range map[string]**os.File{"in": &s.in, "out": &s.out, "err": &s.err} {
		made, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := made.Close(); err != nil {
				t.Error(err)
			}
		})
		*f = made
	}
	if _, err := s.in.WriteAt([]byte(input), 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, f *os.File) string {
	t.Helper()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sh runs a shell script in the target and returns what it printed.
func sh(t *testing.T, target Target, script string) string {
	t.Helper()
	return output(t, target, Spec{Argv: []string{"sh", "-c", script}})
}

func output(t *testing.T, target Target, spec Spec) string {
	t.Helper()
	s := newStreams(t, "")
	result, err := Exec(t.Context(), target, s.of(spec))
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Fatalf("%q: %+v, stderr %q", spec.Argv, result, read(t, s.err))
	}
	return read(t, s.out)
}

func procPath(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }
