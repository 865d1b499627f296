package machined

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]string, 0, len(entries))
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

func testStateDir(t *testing.T) stateDir {
	t.Helper()
	dir, err := openStateDir(filepath.Join(t.TempDir(), "run", "machines"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStateDirLinksOnlyWholeUnits(t *testing.T) {
	dir := testStateDir(t)
	whole, part := run1(), run1()
	whole.Unit = ScopeName("run1")
	part.Name, part.Subgroup = "part", "payload"
	if err := errors.Join(dir.save(whole), dir.linkUnit(whole), dir.linkUnit(whole), dir.save(part), dir.linkUnit(part)); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir.path), []string{"part", "run1", "unit:machine-run1.scope"}; !slices.Equal(got, want) {
		t.Fatalf("files %q, want %q", got, want)
	}
	target, err := os.Readlink(filepath.Join(dir.path, "unit:machine-run1.scope"))
	if err != nil || target != "run1" {
		t.Errorf("link leads to %q, %v", target, err)
	}
	info, err := os.Stat(filepath.Join(dir.path, "run1"))
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := errors.Join(dir.remove(whole), dir.remove(part), dir.remove(part)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir.path); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestStateDirLinkFollowsTheLastMachine(t *testing.T) {
	dir := testStateDir(t)
	first, second := run1(), run1()
	first.Unit, second.Unit, second.Name = "qemu.service", "qemu.service", "run2"
	if err := errors.Join(dir.linkUnit(first), dir.linkUnit(second), dir.remove(first)); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(dir.path, "unit:qemu.service")); err != nil || target != "run2" {
		t.Errorf("link leads to %q, %v", target, err)
	}
}

// sd-login's monitor waits for nothing but moves into the directory and
// deletions, so a file must never appear by being created under its name.
func TestStateDirWritesByRename(t *testing.T) {
	dir := testStateDir(t)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.InotifyAddWatch(fd, dir.path, unix.IN_MOVED_TO|unix.IN_CREATE|unix.IN_DELETE); err != nil {
		t.Fatal(err)
	}
	m := run1()
	m.Subgroup = "payload"
	if err := errors.Join(dir.save(m), dir.save(m), dir.remove(m)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := 0; i < n; {
		mask := uint32(buf[i+4]) | uint32(buf[i+5])<<8 | uint32(buf[i+6])<<16
		length := int(buf[i+12])
		name := strings.TrimRight(string(buf[i+16:i+16+length]), "\x00")
		if name == "run1" {
			got = append(got, map[uint32]string{unix.IN_MOVED_TO: "moved", unix.IN_DELETE: "deleted", unix.IN_CREATE: "created"}[mask])
		}
		i += 16 + length
	}
	if want := []string{"moved", "moved", "deleted"}; !slices.Equal(got, want) {
		t.Errorf("seen %q, want %q", got, want)
	}
}

// What a replacement left that failed is no obstacle, and is not followed.
func TestStateDirReplacesLeftovers(t *testing.T) {
	dir, m := testStateDir(t), run1()
	temp, other := filepath.Join(dir.path, ".#run1"), filepath.Join(t.TempDir(), "other")
	for what, leave := range map[string]func() error{
		"half a file": func() error { return os.WriteFile(temp, []byte("NAME=ru"), 0o600) },
		"a link":      func() error { return os.Symlink(other, temp) },
	} {
		if err := errors.Join(leave(), dir.save(m)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		path := filepath.Join(dir.path, "run1")
		text, err := os.ReadFile(path)
		if err != nil || string(text) != string(formatState(m)) {
			t.Errorf("%s: %q, %v", what, text, err)
		}
		if st, err := os.Lstat(path); err != nil || st.Mode() != 0o644 {
			t.Errorf("%s: mode %v, %v", what, st.Mode(), err)
		}
		for _, gone := range []string{temp, other} {
			if _, err := os.Lstat(gone); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %s is there: %v", what, gone, err)
			}
		}
	}
}

func TestStateDirLoad(t *testing.T) {
	dir := testStateDir(t)
	m := run1()
	m.Unit = ScopeName("run1")
	if err := errors.Join(dir.save(m), dir.linkUnit(m)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"broken": "NAME=broken\nLEADER=", "moved": "NAME=other\nLEADER=7\nCLASS=vm\n",
		".#run1123": "NAME=ru", ".hidden": "x", "under_score": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir.path, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir.path, "directory"), 0o755),
		os.Symlink("run1", filepath.Join(dir.path, "alias")), os.Symlink("gone", filepath.Join(dir.path, "unit:gone.scope"))); err != nil {
		t.Fatal(err)
	}
	var problems []error
	machines, err := dir.load(func(err error) { problems = append(problems, err) })
	if err != nil {
		t.Fatal(err)
	}
	if len(machines) != 1 || machines[0].Name != "run1" {
		t.Errorf("machines %+v", machines)
	}
	if len(problems) != 2 || !errors.Is(problems[0], errCorrupt) || !errors.Is(problems[1], errCorrupt) {
		t.Errorf("problems %v", problems)
	}
	if err := dir.sweepLinks(func(_, name string) bool { return name == "run1" }); err != nil {
		t.Fatal(err)
	}
	want := []string{
		".corrupt-broken", ".corrupt-moved", ".hidden", "alias", "directory", "run1", "under_score", "unit:machine-run1.scope",
	}
	if got := names(t, dir.path); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}
