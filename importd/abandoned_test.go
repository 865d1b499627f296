package importd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/fixtures/faultserver"
	"berth/images"
	"berth/importd"

	"golang.org/x/sys/unix"
)

// A lock that outlives the worker by a moment does not save what the worker left: when
// the transfer is over, it is gone.
func TestLockOutlivesWorker(t *testing.T) {
	h, server := newHost(t), faultserver.Start(t)
	archive := tree(t, noise(8<<20))
	server.Set("/foo.tar", faultserver.Answer{Body: archive, Fault: faultserver.Stall, At: int64(len(archive) / 2)})
	transfer := h.start(pullTar(server.URL("/foo.tar")))
	h.waitProgress(transfer.ID(), 0.4)
	found, err := filepath.Glob(filepath.Join(h.root, ".#tar*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("in the making: %q, %v", found, err)
	}
	worker, held := lockHolder(t, found[0])
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("the end of the worker", func() bool { return syscall.Kill(worker, 0) != nil })
	// Nothing shows that the sweep is waiting. If it is not, it comes too early here.
	if _, err := os.Stat(found[0]); err != nil {
		t.Errorf("it went in spite of the lock: %v", err)
	}
	if err := unix.Close(held); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Err(); err == nil {
		t.Error("a transfer without a worker succeeded")
	}
	for _, name := range h.entries() {
		if !strings.HasPrefix(name, images.SpoolPrefix) {
			t.Errorf("left behind: %s", name)
		}
	}
}

// lockHolder finds the worker that has path open, and takes part in its lock.
func lockHolder(t *testing.T, path string) (pid, held int) {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range opened {
		if to, err := os.Readlink(link); err != nil || to != path {
			continue
		}
		var fd int
		if _, err := fmt.Sscanf(link, "/proc/%d/fd/%d", &pid, &fd); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || strings.TrimRight(string(text), "\x00") != importd.WorkerName {
			continue
		}
		process, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		held, err = unix.PidfdGetfd(process, fd, 0)
		if closeErr := unix.Close(process); closeErr != nil {
			t.Error(closeErr)
		}
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
			t.Skipf("needs to take an open file from another process: %v", err)
		}
		if err != nil {
			t.Fatalf("take part in the lock: %v", err)
		}
		return pid, held
	}
	t.Fatalf("no worker has %s open", path)
	return 0, 0
}
