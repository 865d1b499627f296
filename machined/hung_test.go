package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/fixtures/deadfuse"
	"berth/images/errand"
	"berth/machined/apart"
	"berth/machined/nsenter"
)

// hangs is what a file system that never answers holds up.
var hangs = map[string]func(ctx context.Context, m registered, dir string) error{
	"copy": func(ctx context.Context, m registered, dir string) error {
		return m.CopyFrom(ctx, m.name, CopyRequest{Source: filepath.Join(dir, "file"), Destination: filepath.Join(filepath.Dir(dir), "copy")})
	},
	"bind mount": func(ctx context.Context, m registered, dir string) error {
		return m.BindMount(ctx, m.name, BindRequest{Source: filepath.Join(dir, "file"), Destination: filepath.Dir(dir)})
	},
}

// TestHungWorkHoldsNothing gives up what hangs in a dead file system: no slot of
// operations is taken by it, and the manager can be closed.
func TestHungWorkHoldsNothing(t *testing.T) {
	for name, do := range hangs {
		for _, closing := range []bool{false, true} {
			end := "canceled"
			if closing {
				end = "closed"
			}
			t.Run(name+" "+end, func(t *testing.T) {
				t.Parallel() // each waits until what hangs is given up
				fs, dir := deadfuse.Mount(t)
				m := managerOf(t, "dead", mounted(t))
				ctx, cancel := context.WithCancel(t.Context())
				ended, closed := make(chan error), make(chan error, 1)
				go func() { ended <- do(ctx, m, dir) }()
				select {
				case <-fs.Taken():
				case err := <-ended:
					t.Fatalf("it does not hang: %v", err)
				}
				want := context.Canceled
				if closing {
					want = ErrClosed
					go func() { closed <- m.Close() }()
				} else {
					cancel()
				}
				if err := <-ended; !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
				cancel()
				if closing {
					if err := <-closed; err != nil {
						t.Error(err)
					}
				}
				if n := len(m.operations); n != 0 {
					t.Errorf("%d operations are under way", n)
				}
				if m.apart.Idle() {
					t.Error("nothing hangs")
				}
				fs.End()
				await.Until(t, time.Minute, "the process to end", m.apart.Idle)
			})
		}
	}
}

// What a command or a terminal needs of the machine's files is looked for by a
// process that can be given up.
func TestHungEntriesHoldNothing(t *testing.T) {
	for name, c := range map[string]struct {
		dead string
		do   func(ctx context.Context, m registered) error
	}{
		"command": {"/etc", func(ctx context.Context, m registered) error {
			_, err := m.Exec(ctx, m.name, ExecRequest{Argv: []string{"true"}})
			return err
		}},
		"terminal": {"/dev", func(ctx context.Context, m registered) error {
			_, err := m.OpenPTY(ctx, m.name)
			return err
		}},
		"login": {"/run", func(ctx context.Context, m registered) error {
			_, err := m.OpenLogin(ctx, m.name)
			return err
		}},
		"shell": {"/run", func(ctx context.Context, m registered) error {
			_, err := m.OpenShell(ctx, m.name, ShellRequest{})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits until what hangs is given up
			leader := mounted(t)
			m := managerOf(t, "dead", leader)
			target, err := nsenter.Open(leader)
			if err != nil {
				t.Fatal(err)
			}
			defer target.PIDFD.Close()
			fs := deadfuse.MountBy(t, func(options string) error {
				return nsenter.In(t.Context(), target, nsenter.Mount, func() error {
					return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("deadfuse", c.dead, "fuse", 0, options))
				})
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() { ended <- c.do(ctx, m) }()
			select {
			case <-fs.Taken():
			case err := <-ended:
				t.Fatalf("it does not hang: %v", err)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(err, errand.ErrHangs) {
				t.Errorf("not given up: %v", err)
			}
			if m.apart.Idle() {
				t.Error("nothing hangs in a process apart")
			}
			fs.End()
			await.Until(t, time.Minute, "the process to end", m.apart.Idle)
		})
	}
}

// mounted is a process with mounts of its own.
func mounted(t *testing.T) int {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	pid := shellIn(t, obey, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}).PID
	// Until then it needs files itself, and would be what hangs.
	await.Until(t, time.Minute, "the leader to sleep", func() bool {
		call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		return err == nil && strings.HasPrefix(string(call), fmt.Sprintf("%d ", unix.SYS_CLOCK_NANOSLEEP))
	})
	return pid
}

// What processes apart say is what the transports have names for.
func TestExplain(t *testing.T) {
	for from, to := range map[error]error{
		apart.ErrBusy: ErrTooManyOperations, apart.ErrNoRoot: ErrNotSupported, unix.EOVERFLOW: ErrNotSupported,
		errand.ErrStalled: unix.ETIMEDOUT, context.DeadlineExceeded: unix.ETIMEDOUT, unix.ENOSPC: unix.ENOSPC,
	} {
		if got := explain(fmt.Errorf("step: %w", from)); !errors.Is(got, to) || !errors.Is(got, from) {
			t.Errorf("%v became %v, want %v", from, got, to)
		}
	}
	if err := explain(nil); err != nil {
		t.Error(err)
	}
}
