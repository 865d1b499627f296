package main

import (
	"context"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"berth/cmd/internal/daemon"
	"berth/machined"
)

// A daemon of a user that has a machine is not idle, nor is one that found it at
// its start.
func TestMachinesKeepTheDaemon(t *testing.T) {
	config := machined.Config{StateDir: t.TempDir(), RunDir: t.TempDir()}
	leader := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	defer leader.Process.Kill() //nolint:errcheck // it may have been killed
	manager, err := machined.New(config)
	if err != nil {
		t.Fatal(err)
	}
	r := machined.Registration{Name: "one", Class: machined.ClassContainer}
	r.Leader.PID = leader.Process.Pid
	if _, err := manager.Register(t.Context(), machined.Caller{}, r); err != nil {
		t.Fatal(err)
	}
	if err := manager.Close(); err != nil {
		t.Fatal(err)
	}
	if manager, err = machined.New(config); err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	idle := daemon.NewIdle(20 * time.Millisecond)
	starting := idle.Hold() // as the connection of whoever woke it
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	serve := keepBusy(manager, idle)
	go func() { kept <- serve(ctx) }()
	var killed atomic.Bool
	ended := make(chan bool, 1)
	go func() {
		ended <- idle.Wait(t.Context()) && killed.Load()
	}()
	time.AfterFunc(200*time.Millisecond, func() {
		killed.Store(true)
		_ = leader.Process.Kill()
		_ = leader.Wait() // it was killed
	})
	starting()
	if !<-ended {
		t.Error("a daemon that has a machine is idle")
	}
	cancel()
	if err := <-kept; err != nil {
		t.Error(err)
	}
}
