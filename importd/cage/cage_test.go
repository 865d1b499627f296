package cage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/importd/cage"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// probeVariable makes the test binary act as the process that enters a cage.
const probeVariable = "BERTH_TEST_CAGE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(probeVariable); dir != "" {
		if err := probe(context.Background(), dir, os.Args[1] == "network"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// probe enters the cage and tries each way out; it reports the ones that work.
func probe(ctx context.Context, dir string, network bool) error {
	missing, err := cage.Enter(cage.Rules{
		Read:         []string{"/usr", "/lib", "/lib64", "/bin"},
		Write:        []string{filepath.Join(dir, "inside")},
		Network:      network,
		Capabilities: []cap.Value{cap.CHOWN, cap.FOWNER, cap.MKNOD, cap.DAC_OVERRIDE},
	})
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		fmt.Println("missing:", missing)
	}
	return errors.Join(allowed(ctx, dir), refused(ctx, dir), sockets(network))
}

func allowed(ctx context.Context, dir string) error {
	in := filepath.Join(dir, "inside")
	if err := os.Mkdir(filepath.Join(in, "d"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(in, "d", "f"), []byte("x"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(in, "d", "f"), filepath.Join(in, "f")); err != nil {
		return err
	}
	if err := unix.Mknod(filepath.Join(in, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		return fmt.Errorf("make a device node inside: %w", err)
	}
	if err := os.Lchown(filepath.Join(in, "f"), 1234, 1234); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "/bin/sh", "-c", "exit 0").CombinedOutput(); err != nil {
		return fmt.Errorf("run a program of the host: %w: %s", err, out)
	}
	return nil
}

func refused(ctx context.Context, dir string) error {
	attempts := map[string]func() error{
		"read outside":  func() error { _, err := os.ReadFile(filepath.Join(dir, "secret")); return err },
		"write outside": func() error { return os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600) },
		"move outside":  func() error { return os.Rename(filepath.Join(dir, "inside", "f"), filepath.Join(dir, "f")) },
		"child reads": func() error {
			return exec.CommandContext(ctx, "/bin/sh", "-c", "exec 3< "+filepath.Join(dir, "secret")).Run()
		},
		"mount":   func() error { return unix.Mount("none", filepath.Join(dir, "inside", "d"), "tmpfs", 0, "") },
		"unshare": func() error { return unix.Unshare(unix.CLONE_NEWNET) },
		"setuid binaries": func() error {
			v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			return refusedUnless(err == nil && v == 1)
		},
		"kill capability": func() error {
			has, err := cap.GetProc().GetFlag(cap.Permitted, cap.KILL)
			bound, boundErr := cap.GetBound(cap.KILL)
			return refusedUnless(err == nil && boundErr == nil && !has && !bound)
		},
	}
	var open []string
	for name, try := range attempts {
		if try() == nil {
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("the cage lets through: %s", strings.Join(open, ", "))
	}
	return nil
}

// refusedUnless makes a way out of a protection that is not there.
func refusedUnless(there bool) error {
	if there {
		return os.ErrPermission
	}
	return nil
}

func sockets(network bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Close(fd)
	}
	if network && err != nil {
		return fmt.Errorf("no socket although the network is kept: %w", err)
	}
	if !network && err == nil {
		return errors.New("a socket can be made although the network is gone")
	}
	return nil
}

func TestCage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a cage drops capabilities of root")
	}
	for _, mode := range []string{"offline", "network"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "inside"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("host"), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", mode)
			cmd.Env = append(os.Environ(), probeVariable+"="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("in the cage: %v\n%s", err, out)
			}
			if strings.Contains(string(out), "missing:") {
				t.Skipf("this kernel lacks a part of the cage: %s", out)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "secret")); err != nil || string(got) != "host" {
				t.Errorf("HOST FILE WAS CHANGED: %q, %v", got, err)
			}
		})
	}
}
