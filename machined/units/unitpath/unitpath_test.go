package unitpath

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/machined"
)

func TestSplit(t *testing.T) {
	for cgroup, want := range map[string]machined.Unit{
		"/machine.slice/machine-a.scope":                        {Name: "machine-a.scope", Cgroup: "/machine.slice/machine-a.scope"},
		"/machine.slice/systemd-nspawn@a.service/payload/x":     {Name: "systemd-nspawn@a.service", Subgroup: "payload/x", Cgroup: "/machine.slice/systemd-nspawn@a.service"},
		"/user.slice/user-1.slice/user@1.service/app.slice/a.b": {Name: "user@1.service", Subgroup: "app.slice/a.b", Cgroup: "/user.slice/user-1.slice/user@1.service"},
		"/init.scope":       {Name: "init.scope", Cgroup: "/init.scope"},
		"/_cgroup.service/": {Name: "cgroup.service", Cgroup: "/_cgroup.service"},
		"/":                 {}, "": {}, "/machine.slice": {}, "/openrc.sshd": {}, "/payload": {}, "/../../a.scope": {}, "/docker/0123/a.scope": {}, "/.scope": {},
	} {
		if got, ok := Split(cgroup); got != want || ok != (want != machined.Unit{}) {
			t.Errorf("Split(%q) = %+v, %v", cgroup, got, ok)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("9:name=systemd:/machine.slice/a.scope\n0::/machine.slice/a.scope/payload\n")
	f.Add("0::/../..\n")
	f.Fuzz(func(t *testing.T, text string) {
		unified, named := parseProcCgroup(text)
		for _, cgroup := range []string{unified, named} {
			unit, ok := Split(cgroup)
			if ok && (unit.Name == "" || strings.Contains(unit.Name, "/") || !strings.HasPrefix(unit.Cgroup, "/")) {
				t.Errorf("Split(%q) = %+v", cgroup, unit)
			}
		}
	})
}

func TestCgroups(t *testing.T) {
	want, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	unified, named := parseProcCgroup(string(want))
	if a, b, err := Cgroups(os.Getpid()); err != nil || a != unified || b != named {
		t.Errorf("cgroups %q and %q, %v, want %q and %q", a, b, err, unified, named)
	}
	if _, _, err := Cgroups(1 << 30); !errors.Is(err, machined.ErrNoSuchProcess) {
		t.Errorf("of no process: %v", err)
	}
	// Longer than what is read at once.
	long := filepath.Join(t.TempDir(), "long")
	text := bytes.Repeat([]byte("0::/x\n"), 5000)
	if err := os.WriteFile(long, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(long); err != nil || !bytes.Equal(got, text) {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, len(text))
	}
}
