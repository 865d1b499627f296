package importd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/fixtures/await"
	"berth/images"
	"berth/importd"

	"golang.org/x/sys/unix"
)

func impatient(c *importd.Config) { c.Patience = 10 * time.Millisecond }

// An import of what never comes.
func endless(t *testing.T) importd.Request {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return importd.Request{Kind: importd.ImportTar, Class: images.ClassMachine, Local: "a", File: r}
}

// children are the processes that this one has started.
func children(t *testing.T) (pids []string) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // the thread may have ended
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

// hang keeps the worker of the only transfer from ever reacting to anything.
func hang(t *testing.T) {
	t.Helper()
	var workers []string
	// The thread that has started it ends, and leaves it to another.
	await.Until(t, time.Minute, "one process that was started", func() bool {
		workers = children(t)
		return len(workers) == 1
	})
	pid, err := strconv.Atoi(workers[0])
	if err == nil {
		err = unix.Kill(pid, unix.SIGSTOP)
	}
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "the worker to stop", func() bool {
		stat, err := os.ReadFile("/proc/" + workers[0] + "/stat")
		return err == nil && strings.Contains(string(stat), ") T ")
	})
}

// TestEndOfAManagerWithAHangingWorker: nothing keeps a daemon from ending.
func TestEndOfAManagerWithAHangingWorker(t *testing.T) {
	h := newHost(t, impatient)
	transfer := h.start(endless(t))
	for e, err := h.events.Next(t.Context()); e.Kind != importd.EventLog; e, err = h.events.Next(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	hang(t)
	h.manager.Close()
	if err := transfer.Err(); !errors.Is(err, importd.ErrCanceled) {
		t.Errorf("it ended with %v", err)
	}
	h.mustBeEmpty()
}

func TestDoEndsWithAHangingWorker(t *testing.T) {
	h := newHost(t, impatient)
	ctx, cancel := context.WithCancel(t.Context())
	r := endless(t)
	defer r.File.Close() //nolint:errcheck // nothing was written
	defer cancel()
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tell := sync.OnceFunc(func() { close(begun) })
		ended <- importd.Do(ctx, h.config, r, func(importd.Event) { tell() })
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("it ended before it said anything: %v", err)
	}
	hang(t)
	cancel()
	err := <-ended
	if !errors.Is(err, importd.ErrCanceled) {
		t.Errorf("it ended with %v", err)
	}
	h.mustBeEmpty()
}

// TestCancelOfAnExportThatNobodyReads: the first cancel ends it, though its worker
// waits in a pipe that the caller wants to block.
func TestCancelOfAnExportThatNobodyReads(t *testing.T) {
	h := newHost(t)
	if err := h.do(importd.Request{Kind: importd.ImportTar, Local: "a", File: temp(t, tree(t, noise(1<<20)))}); err != nil {
		t.Fatal(err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // only read
	transfer := h.start(importd.Request{Kind: importd.ExportTar, Local: "a", File: out})
	if _, err := in.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := h.manager.Cancel(transfer.ID()); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Err(); !errors.Is(err, importd.ErrCanceled) {
		t.Errorf("it ended with %v", err)
	}
}
