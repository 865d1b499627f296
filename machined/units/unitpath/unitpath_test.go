package unitpath

import (
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
