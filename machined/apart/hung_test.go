package apart

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/fixtures/deadfuse"
	"berth/images/errand"
	"berth/machined/nsenter"
)

// waiting is the longest that anything is waited for.
const waiting = 2 * time.Minute

// leader starts a leader and returns it once it has said "up".
func leader(t *testing.T, cmd *exec.Cmd) Machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends by that
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("leader says %q, %v", line, err)
	}
	target, err := nsenter.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.PIDFD.Close(); err != nil {
			t.Error(err)
		}
	})
	return Machine{Target: target}
}

// container is a process with mounts of its own.
func container(t *testing.T) Machine {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "echo up; read x; exit 0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	return leader(t, cmd)
}

// deaden mounts a dead file system over a directory of the machine.
func deaden(t *testing.T, m Machine, dir string) *deadfuse.FS {
	t.Helper()
	return deadfuse.MountBy(t, func(options string) error {
		return nsenter.In(t.Context(), m.Target, nsenter.Mount, func() error {
			return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("deadfuse", dir, "fuse", 0, options))
		})
	})
}

// rooted is a process whose root is a directory.
func rooted(t *testing.T, dir string) Machine {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), newRoot+"="+dir)
	return leader(t, cmd)
}

// TestDeadFileSystems has each job meet a file system that never answers: it ends
// with its context, and what is left of it ends with the file system.
func TestDeadFileSystems(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error){
		"os-release": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			m := container(t)
			return deaden(t, m, "/etc"), func(ctx context.Context, c *Crew) error {
				_, err := c.OSRelease(ctx, m)
				return err
			}
		},
		"root": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			fs, dir := deadfuse.Mount(t)
			m := rooted(t, dir)
			return fs, func(ctx context.Context, c *Crew) error {
				_, err := c.RootDirectory(ctx, m)
				return err
			}
		},
		"account": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			m := container(t)
			return deaden(t, m, "/etc"), func(ctx context.Context, c *Crew) error {
				_, err := c.Find(ctx, m, "root", false)
				return err
			}
		},
		"null device": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			m := container(t)
			return deaden(t, m, "/dev"), func(ctx context.Context, c *Crew) error {
				_, err := c.Find(ctx, m, "root", true)
				return err
			}
		},
		"terminal": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			m := container(t)
			return deaden(t, m, "/dev"), func(ctx context.Context, c *Crew) error {
				_, err := c.OpenPTY(ctx, m, 0)
				return err
			}
		},
		"socket": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			m := container(t)
			return deaden(t, m, "/run"), func(ctx context.Context, c *Crew) error {
				_, err := c.Connect(ctx, m, "/run/socket")
				return err
			}
		},
		"copy out": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			m := container(t)
			request := CopyRequest{Host: filepath.Join(t.TempDir(), "copy"), Guest: "/etc/passwd", Out: true}
			return deaden(t, m, "/etc"), func(ctx context.Context, c *Crew) error { return c.Copy(ctx, m, request) }
		},
		"copy from a dead host": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			fs, dir := deadfuse.Mount(t)
			m := rooted(t, t.TempDir())
			request := CopyRequest{Host: filepath.Join(dir, "file"), Guest: "/copy"}
			return fs, func(ctx context.Context, c *Crew) error { return c.Copy(ctx, m, request) }
		},
		"bind source": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			fs, dir := deadfuse.Mount(t)
			m := container(t)
			request := BindRequest{Source: filepath.Join(dir, "file"), Destination: t.TempDir()}
			return fs, func(ctx context.Context, c *Crew) error { return c.BindMount(ctx, m, request) }
		},
		// Found, but what it is has to be asked for.
		"bind source itself": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			fs, dir := deadfuse.Mount(t)
			m := container(t)
			request := BindRequest{Source: dir, Destination: t.TempDir()}
			return fs, func(ctx context.Context, c *Crew) error { return c.BindMount(ctx, m, request) }
		},
		"bind destination": func(t *testing.T) (*deadfuse.FS, func(context.Context, *Crew) error) {
			m := container(t)
			request := BindRequest{Source: t.TempDir(), Destination: "/etc/point"}
			return deaden(t, m, "/etc"), func(ctx context.Context, c *Crew) error { return c.BindMount(ctx, m, request) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits until what hangs is given up
			fs, do := prepare(t)
			endsAnyway(t, fs, do)
		})
	}
}

func endsAnyway(t *testing.T, fs *deadfuse.FS, do func(context.Context, *Crew) error) {
	t.Helper()
	c := NewCrew()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() { ended <- do(ctx, c) }()
	select {
	case <-fs.Taken():
	case err := <-ended:
		t.Fatalf("it met nothing that is dead: %v", err)
	}
	cancel(enough)
	if err := <-ended; !errors.Is(err, enough) || !errors.Is(err, errand.ErrHangs) {
		t.Errorf("not given up: %v", err)
	}
	if c.Idle() {
		t.Error("a process that hangs does not count")
	}
	fs.End()
	await.Until(t, waiting, "the process to end", c.Idle)
}

// A machine that does not answer takes its share of processes, and no more.
func TestOneDeadMachineLeavesTheOthers(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/etc", 0o755), os.WriteFile(dir+"/etc/os-release", []byte("ID=alive"), 0o600)); err != nil {
		t.Fatal(err)
	}
	dead, living := container(t), rooted(t, dir)
	fs := deaden(t, dead, "/etc")
	c := NewCrew()
	long := time.Second // how long a process may take to get stuck
	await.Until(t, waiting, "the machine to have its share", func() bool {
		var all sync.WaitGroup
		long = min(2*long, waiting/8)
		for range c.looks.limits.machine {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				context.AfterFunc(t.Context(), cancel)
				timer := time.AfterFunc(long, cancel)
				defer timer.Stop()
				_, _ = c.OSRelease(ctx, dead) // it hangs, or was ended too early
			})
		}
		all.Wait()
		c.looks.mu.Lock()
		defer c.looks.mu.Unlock()
		return c.looks.machines[dead.PID] == c.looks.limits.machine
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.OSRelease(ctx, dead); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	if text, err := c.OSRelease(t.Context(), living); err != nil || string(text) != "ID=alive" {
		t.Errorf("another machine: %q, %v", text, err)
	}
	fs.End()
	await.Until(t, waiting, "the processes to end", c.Idle)
}
