package main

import (
	"bytes"
	"path/filepath"
	"syscall"
	"testing"

	"berth/fixtures/faultserver"
)

// stalled starts a pull that waits for ever in its middle, once the tree is being filled.
func (h *userHost) stalled() (ended chan error) {
	h.t.Helper()
	archive := foreignArchive(h.t, noise(4<<20)...)
	h.server.Set("/tree.tar", faultserver.Answer{Body: archive, Fault: faultserver.Stall, At: int64(len(archive) / 2)})
	cmd := h.as("importctl", "--user", "-m", "--verify=no", "pull-tar", h.server.URL("/tree.tar"), "pulled")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	h.must(cmd.Start())
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	h.eventually("half a tree", func() bool {
		found, err := filepath.Glob(filepath.Join(h.images, ".#tar*/payload"))
		return err == nil && len(found) == 1
	})
	return ended
}

// foreignCancel: a transfer that is canceled leaves nothing, and so does one whose worker is killed.
func foreignCancel(t *testing.T, programs string) {
	for what, end := range map[string]func(h *userHost){
		"canceled": func(h *userHost) { h.tool("cancel-transfer", "1") },
		"killed": func(h *userHost) {
			workers := h.processes("berth-worker")
			if len(workers) != 1 {
				h.t.Fatalf("workers: %v", workers)
			}
			h.must(syscall.Kill(workers[0], syscall.SIGKILL))
		},
		"unpacker killed": func(h *userHost) {
			unpackers := h.processes("berth-unpack")
			if len(unpackers) != 1 {
				h.t.Fatalf("unpackers: %v", unpackers)
			}
			h.must(syscall.Kill(unpackers[0], syscall.SIGKILL))
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newUserHost(t, programs, homeOnTmpfs, true)
			defer h.daemon()()
			ended := h.stalled()
			end(h)
			if err := <-ended; err == nil {
				t.Error("importctl knows nothing of it")
			}
			if left := h.left(); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// foreignDaemonIsKilled: whatever is killed, the next daemon sweeps what is left.
func foreignDaemonIsKilled(t *testing.T, programs string) {
	h := newUserHost(t, programs, homeOnTmpfs, true)
	cmd := h.as("importd", "--user")
	_ = startDaemon(t, cmd) // it is killed instead
	ended := h.stalled()
	workers := h.processes("berth-worker")
	if len(workers) != 1 {
		t.Fatalf("workers: %v", workers)
	}
	// It must not clean up when the daemon is gone.
	h.stopped(workers[0])
	h.must(cmd.Process.Kill(), syscall.Kill(workers[0], syscall.SIGKILL))
	_ = cmd.Wait() // killed
	if err := <-ended; err == nil {
		t.Error("importctl knows nothing of it")
	}
	h.nobodyLeft()
	left := h.left()
	if len(left) != 1 {
		t.Fatalf("the test shows nothing: %q is left", left)
	}
	h.unlocked(left[0])
	defer h.daemon()()
	if left = h.left(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
