package nsenter

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fixtures/await"
	"berth/fixtures/guest/guesttest"
)

func TestIn(t *testing.T) {
	target := boot(t, "berth-in", guesttest.Minimal(t))
	own, err := identity("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	its, err := identity(target.proc("ns/net"))
	if err != nil {
		t.Fatal(err)
	}
	var inside inode
	var links []net.Interface
	var release []byte
	err = In(t.Context(), target, Net, func() (err error) {
		if inside, err = identity("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		links, err = net.Interfaces()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = In(t.Context(), target, Mount|PID, func() (err error) {
		release, err = os.ReadFile("/etc/hostname")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if inside != its {
		t.Errorf("ran in %v, the machine is in %v", inside, its)
	}
	if string(release) != "minimal\n" {
		t.Errorf("mount namespace: host name %q", release)
	}
	if len(links) != 2 || links[1].Name != "host0" {
		t.Errorf("links in the machine: %v", links)
	}
	// Neither the process nor any thread that is left has changed. A thread
	// ends a moment after In has returned.
	await.Until(t, patience, "the thread to end", func() bool {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(threads, func(thread os.DirEntry) bool {
			got, err := identity("/proc/self/task/" + thread.Name() + "/ns/net")
			return err == nil && got != own
		})
	})
}

func TestInErrors(t *testing.T) {
	target := open(t, os.Getpid())
	want := errors.New("of the function")
	if err := In(t.Context(), target, Net, func() error { return want }); !errors.Is(err, want) {
		t.Errorf("error %v", err)
	}
	if err := In(t.Context(), target, User, func() error { return nil }); !errors.Is(err, unix.EINVAL) {
		t.Errorf("user namespace: error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := In(ctx, target, Net, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
}

func TestOnThreadKeepsTheMainThread(t *testing.T) {
	for range 50 {
		err := onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("on the main thread")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenOfNobody(t *testing.T) {
	if _, err := Open(1 << 22); !errors.Is(err, ErrGone) {
		t.Errorf("error %v", err)
	}
}
