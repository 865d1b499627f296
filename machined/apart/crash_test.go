package apart

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/fixtures/killat"
	"berth/machined/nsenter"
)

// crashDir names the directory that the child of TestKilledCopy works in.
const crashDir = "BERTH_TEST_CRASH_DIR"

// copyIn copies within a directory, over what is there.
func copyIn(t *testing.T, dir string) error {
	t.Helper()
	self, err := nsenter.Open(os.Getpid())
	if err != nil {
		return err
	}
	defer self.PIDFD.Close()
	return CopyRequest{Host: dir + "/to", Guest: dir + "/from", Out: true, Replace: true}.do(t.Context(), self)
}

// TestCrashChild is the child of TestKilledCopy and nothing by itself.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("only runs as a child of TestKilledCopy")
	}
	killat.Mark()
	if err := copyIn(t, dir); err != nil {
		t.Fatal(err)
	}
	os.Exit(0)
}

// TestKilledCopy kills a process that copies at each of its steps: a file that was
// to be replaced is the old one or the new one, and the copy can be made again.
func TestKilledCopy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	steps := 0
	for killed := true; killed && !t.Failed(); steps++ {
		dir := t.TempDir()
		if err := errors.Join(
			os.MkdirAll(dir+"/from/sub", 0o755), os.WriteFile(dir+"/from/sub/file", []byte("new"), 0o600), os.Symlink("/etc/passwd", dir+"/from/link"),
			os.WriteFile(dir+"/from/old", []byte("new"), 0o600), os.Mkdir(dir+"/to", 0o755), os.WriteFile(dir+"/to/old", []byte("old"), 0o600),
		); err != nil {
			t.Fatal(err)
		}
		killed = killat.Run(t, killat.OnDisk(), append(os.Environ(), crashDir+"="+dir), steps+1, "-test.run=^TestCrashChild$")
		if text, err := os.ReadFile(dir + "/to/old"); err != nil || string(text) != "old" && string(text) != "new" {
			t.Errorf("step %d: the file that was there: %q, %v", steps+1, text, err)
		}
		if err := copyIn(t, dir); err != nil {
			t.Errorf("step %d: again: %v", steps+1, err)
		}
		holdCopy(t, steps+1, dir+"/to")
	}
	if steps < 10 {
		t.Errorf("%d steps: the child is not traced", steps)
	}
}

func holdCopy(t *testing.T, step int, dir string) {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		// A replacement that was not finished is recognised by its name.
		if err != nil || strings.HasPrefix(d.Name(), ".#") {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			found = append(found, fmt.Sprintf("%s=%s", name, text))
			return err
		}
		found = append(found, name)
		return nil
	})
	if got, want := strings.Join(found, " "), " /link /old=new /sub /sub/file=new"; got != want || err != nil {
		t.Errorf("step %d: there is %q, %v; want %q", step, got, err, want)
	}
}
