package bus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSSHCommand(t *testing.T) {
	for host, want := range map[string]string{
		"h":             "ssh -xT -- h systemd-stdio-bridge",
		"alice@h":       "ssh -xT -- alice@h systemd-stdio-bridge",
		"alice@h:22":    "ssh -xT -p 22 -- alice@h systemd-stdio-bridge",
		"[::1]":         "ssh -xT -- ::1 systemd-stdio-bridge",
		"root@[::1]:22": "ssh -xT -p 22 -- root@::1 systemd-stdio-bridge",
		"h/web":         "ssh -xT -- h systemd-stdio-bridge --machine=web",
		"h:22/web":      "ssh -xT -p 22 -- h systemd-stdio-bridge --machine=web",
		"h:web":         "ssh -xT -- h systemd-stdio-bridge --machine=web",
		"-oX=y":         "ssh -xT -- -oX=y systemd-stdio-bridge",
	} {
		args, err := sshCommand(host, "", false)
		if got := strings.Join(args, " "); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", host, got, err, want)
		}
	}
	for _, host := range []string{"", "a@", "@h", "a@b@c", "h/", "h/a b", "h:22:23", "[::1", "h:22/-x", "h:a b"} {
		if args, err := sshCommand(host, "", false); err == nil {
			t.Errorf("%q: %q", host, args)
		}
	}
	args, err := sshCommand("h", "/opt/ssh", true)
	if got := strings.Join(args, " "); got != "/opt/ssh -xT -- h systemd-stdio-bridge --user" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBridgeCommand(t *testing.T) {
	for target, want := range map[Target]string{
		{Container: "alice@web"}:         "-Mweb -PGq --wait -pUser=alice -pPAMName=login systemd-stdio-bridge",
		{Container: "alice@"}:            "-M.host -PGq --wait -pUser=alice -pPAMName=login systemd-stdio-bridge",
		{Container: "web", User: true}:   "-Mweb -PGq --wait -pUser=root -pPAMName=login systemd-stdio-bridge -punix:path=${XDG_RUNTIME_DIR}/bus",
		{Container: "a@web", User: true}: "-Mweb -PGq --wait -pUser=a -pPAMName=login systemd-stdio-bridge -punix:path=${XDG_RUNTIME_DIR}/bus",
	} {
		if got := strings.Join(bridgeCommand(target), " "); got != "systemd-run "+want {
			t.Errorf("%+v: %q, want %q", target, got, want)
		}
	}
}

func TestLocalTargets(t *testing.T) {
	for target, want := range map[Target]bool{
		{}: true, {User: true}: true, {Container: "@"}: true, {Container: "@.host"}: true, {Host: "h"}: false,
		{Container: "web"}: false, {Container: "alice@.host"}: false, {Host: "h", Container: "@"}: false,
	} {
		if got := target.Local(); got != want {
			t.Errorf("%+v: local is %v", target, got)
		}
	}
}

func TestStateFields(t *testing.T) {
	dir := t.TempDir()
	text := "# comment\nNAME=m\nLEADER=42\nNETIF=\" 7 9 x\"\n"
	if err := os.WriteFile(filepath.Join(dir, "m"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"m": "42", "none": "", "../m": ""} {
		if got := StateField(dir, name, "LEADER"); got != want {
			t.Errorf("leader of %q: %q", name, got)
		}
	}
}

func TestRuntimePaths(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	if path, err := (Target{User: true}).Runtime("/run/systemd/x"); err != nil || path != "/run/user/7/systemd/x" {
		t.Errorf("%s, %v", path, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if path, err := (Target{User: true}).Runtime("/run/systemd/x"); err == nil {
		t.Errorf("without a session: %s", path)
	}
	if path, err := (Target{}).Runtime("/run/systemd/x"); err != nil || path != "/run/systemd/x" {
		t.Errorf("of the system: %s, %v", path, err)
	}
}
