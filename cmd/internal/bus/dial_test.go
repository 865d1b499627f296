package bus

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestSSHCommand(t *testing.T) {
	for _, test := range []struct {
		host string
		user bool
		want string // empty: refused
	}{
		{"h", false, "ssh -xT -- h systemd-stdio-bridge"},
		{"root@h", true, "ssh -xT -- root@h systemd-stdio-bridge --user"},
		{"h:22", false, "ssh -xT -p 22 -- h systemd-stdio-bridge"},
		{"[::1]:22", false, "ssh -xT -p 22 -- ::1 systemd-stdio-bridge"},
		{"u@h/box", false, "ssh -xT -- u@h systemd-stdio-bridge --machine=box"},
		{"h:box", false, "ssh -xT -- h systemd-stdio-bridge --machine=box"},
		{"-oProxyCommand=x", false, "ssh -xT -- -oProxyCommand=x systemd-stdio-bridge"},
		{"@", false, ""},
		{"u@", false, ""},
		{"", false, ""},
		{"h/..", false, ""},
		{"h/", false, ""},
	} {
		got, err := sshCommand(test.host, "", test.user)
		if strings.Join(got, " ") != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: %q, %v, want %q", test.host, got, err, test.want)
		}
	}
}

func TestBridgeCommand(t *testing.T) {
	for _, test := range []struct {
		target Target
		want   string
	}{
		{Target{Container: "u@box"}, "-Mbox -PGq --wait -pUser=u -pPAMName=login systemd-stdio-bridge"},
		{Target{Container: "u@box", User: true}, "-Mbox -PGq --wait -pUser=u -pPAMName=login systemd-stdio-bridge -punix:path=${XDG_RUNTIME_DIR}/bus"},
		{Target{Container: "u@", User: true}, "-M.host -PGq --wait -pUser=u -pPAMName=login systemd-stdio-bridge --user --quiet"},
	} {
		got, err := bridgeCommand(test.target)
		if err != nil || strings.Join(got, " ") != "systemd-run "+test.want {
			t.Errorf("%+v: %q, %v", test.target, got, err)
		}
	}
	if got, err := bridgeCommand(Target{Container: "u@../x"}); err == nil {
		t.Errorf("a path became %q", got)
	}
}

func TestLocalTargets(t *testing.T) {
	local := []Target{{}, {User: true}, {Container: "@"}, {Container: "@.host", User: true}}
	if os.Geteuid() == 0 {
		local = append(local, Target{Container: ".host"}, Target{Container: "root@.host"})
	}
	for _, target := range append(local, Target{Host: "h"}, Target{Container: "box"}, Target{Container: "u@.host"}) {
		if target.Local() != slices.Contains(local, target) {
			t.Errorf("%+v: local is %v", target, target.Local())
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	if path, err := (Target{User: true}).Runtime("/run/systemd/x"); err != nil || path != "/run/user/7/systemd/x" {
		t.Errorf("%s, %v", path, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if path, err := (Target{User: true}).Runtime("/run/systemd/x"); err == nil {
		t.Errorf("without a session: %s", path)
	}
}
