package nsenter

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fixtures/deadfuse"
)

// mounted is a process with mounts of its own.
func mounted(t *testing.T) Target {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "read x")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends by that
		_ = cmd.Wait()
	})
	return open(t, cmd.Process.Pid)
}

// A command that does not end although it was killed is given up, and heard of
// when it has ended after all.
func TestHungCommandIsGivenUp(t *testing.T) {
	fs, dir := deadfuse.Mount(t)
	target := mounted(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended, gone := make(chan error), make(chan struct{})
	spec := newStreams(t, "").of(Spec{
		Argv: []string{"cat", filepath.Join(dir, "file")}, Dir: "/", Ended: func() { close(gone) },
	})
	go func() {
		_, err := Exec(ctx, target, spec)
		ended <- err
	}()
	select {
	case <-fs.Taken():
	case err := <-ended:
		t.Fatalf("it does not hang: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrHangs) {
		t.Errorf("not given up: %v", err)
	}
	select {
	case <-gone:
		t.Error("it has ended")
	default:
	}
	fs.End()
	<-gone
}

// A leader that waits in the kernel does not stop to have its filters read.
func TestFiltersOfAHungLeader(t *testing.T) {
	fs, dir := deadfuse.Mount(t)
	// As with a machine it is not the tracer's child that hangs.
	cmd := exec.Command("/bin/sh", "-c", `cat "$0" & echo $!; wait`, filepath.Join(dir, "file"))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // with an error, by the end of the file system
	defer fs.End()
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	<-fs.Taken()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = open(t, pid).filters(ctx, status{seccomp: unix.SECCOMP_MODE_FILTER})
	if !errors.Is(err, ErrFilters) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
