package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/fixtures/deadfuse"
	"berth/images/errand"
	"berth/machined/apart"
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

// mounted is a process with mounts of its own.
func mounted(t *testing.T) int {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	return shellIn(t, obey, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}).PID
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
