package machined

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBindMount(t *testing.T) {
	for kind, args := range map[string][]string{"with user namespace": nil, "without": {sharedUsers}} {
		t.Run(kind, func(t *testing.T) {
			m := bootGuest(t, "berth-bind", args...)
			dir := t.TempDir()
			source := filepath.Join(dir, "source")
			if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755), os.MkdirAll(source+"/sub", 0o777), os.Chmod(source+"/sub", 0o777),
				os.WriteFile(source+"/file", []byte("host"), 0o644)); err != nil {
				t.Fatal(err)
			}
			// As everything is on a systemd host.
			if err := errors.Join(unix.Mount(source, source, "", unix.MS_BIND, ""), unix.Mount("", source, "", unix.MS_SHARED, "")); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(source, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			for _, r := range []BindRequest{
				{Source: source, Destination: "/home"},
				{Source: source, Destination: "/srv/new/point", Mkdir: true, ReadOnly: true},
				{Source: source + "/file", Destination: "/srv/single", Mkdir: true},
				{Source: source + "/file", Destination: "/etc/hostname"},
				{Source: source + "/sub", Destination: "/home"}, // over the first
			} {
				if err := m.BindMount(t.Context(), m.name, r); err != nil {
					t.Fatal(err)
				}
			}
			out, _ := runIn(t, m, strings.Join([]string{
				"cat /srv/new/point/file /srv/single /etc/hostname", "stat -c ' %u:%a' /srv/new", "echo guest > /home/written && ls /home",
				"(echo x > /srv/new/point/sub/x) 2>/dev/null || echo read-only",
				// Must stay in the machine.
				"mkdir /home/inner && mount -t tmpfs none /home/inner && touch /home/inner/secret",
			}, "; "))
			if want := "hosthosthost 0:755\nwritten\nread-only\n"; out != want {
				t.Errorf("machine sees %q, want %q", out, want)
			}
			if got := readFile(t, source+"/sub/written"); got != "guest\n" {
				t.Errorf("host sees %q", got)
			}
			if _, err := os.Lstat(source + "/sub/inner/secret"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("host path changed: a mount of the machine is on the host: %v", err)
			}
		})
	}
}

func TestBindMountRefusals(t *testing.T) {
	m := bootGuest(t, "berth-bind-not")
	runIn(t, m, "ln -s /etc/hostname /dangling-dir; ln -s "+t.TempDir()+" /out; ln -s /proc/1/root/etc /magic; mkdir /mine; mount -t tmpfs none /mine")
	for name, c := range map[string]struct {
		request BindRequest
		want    error
	}{
		"no source":             {BindRequest{Source: "/absent", Destination: "/home"}, unix.ENOENT},
		"no mount point":        {BindRequest{Source: "/etc", Destination: "/absent"}, unix.ENOENT},
		"a link out":            {BindRequest{Source: "/etc", Destination: "/out"}, unix.ENOENT},
		"a link of /proc":       {BindRequest{Source: "/etc", Destination: "/magic"}, unix.ELOOP},
		"a directory on a file": {BindRequest{Source: "/etc", Destination: "/etc/hostname"}, unix.ENOTDIR},
		"a file on a directory": {BindRequest{Source: "/etc/passwd", Destination: "/home"}, unix.ENOTDIR},
		"below a file":          {BindRequest{Source: "/etc", Destination: "/etc/hostname/x", Mkdir: true}, unix.ENOTDIR},
		"the root":              {BindRequest{Source: "/etc", Destination: "/"}, ErrInvalidArgument},
		"a relative path":       {BindRequest{Source: "etc"}, ErrInvalidArgument},
		"not normalized":        {BindRequest{Source: "/etc", Destination: "/a/../b"}, ErrInvalidArgument},
		"its own filesystem":    {BindRequest{Source: "/etc", Destination: "/mine/new", Mkdir: true}, ErrNotSupported},
	} {
		if err := m.BindMount(t.Context(), m.name, c.request); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := m.CopyTo(t.Context(), m.name, CopyRequest{Source: "/etc/hostname", Destination: "/mine/new"}); !errors.Is(err, ErrNotSupported) {
		t.Errorf("copy into a filesystem of the machine's own: %v", err)
	}
	if err := m.BindMount(t.Context(), HostName, BindRequest{Source: "/etc"}); !errors.Is(err, ErrNotSupported) {
		t.Errorf("the host: %v", err)
	}
	shared := managerOf(t, "shared", hostProcess(t))
	if err := shared.BindMount(t.Context(), "shared", BindRequest{Source: "/etc", Destination: "/mnt"}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a machine with the host's mounts: %v", err)
	}
}
