package machined

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A start that is under way has a file, so that the next daemon goes on with it
// if this one is killed: it finds the runner, which is no child of its own, and
// hears of the leader, or sees that the runner has one. Where the runner is not
// known what is in the unit is killed.

const (
	// goOnLimit is how long a start may take that another daemon began.
	goOnLimit = 2 * time.Minute
	// leaderStep is the time between two looks for a leader.
	leaderStep = 100 * time.Millisecond
)

func (m *Manager) startsDir() string { return filepath.Join(m.config.RunDir, "starts") }

func (r *run) startFile() string { return filepath.Join(r.m.startsDir(), r.name) }

// note writes down how far a start has come: process is the zero value until there
// is a runner.
func (r *run) note(process ProcessID) error {
	text, err := json.Marshal(process)
	if err == nil {
		err = os.MkdirAll(r.m.startsDir(), 0o700)
	}
	if err == nil {
		err = os.WriteFile(r.startFile(), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note start: %w", err)
	}
	return nil
}

// resumeStarts takes up the starts that the last daemon was killed in. It is called
// when the machines are known.
func (m *Manager) resumeStarts() error {
	entries, err := os.ReadDir(m.startsDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for broken starts: %w", err)
	}
	for _, e := range entries {
		if err := m.resumeStart(e.Name()); err != nil {
			m.log.Error("broken start is left alone", "machine", e.Name(), "error", err)
		}
	}
	return nil
}

func (m *Manager) resumeStart(name string) error {
	r := newRun(m, name, nil)
	if m.known(name) || ValidName(name) != nil {
		return removeFile(r.startFile()) // it came up, or is not ours
	}
	text, err := os.ReadFile(r.startFile())
	if err != nil {
		return err
	}
	var id ProcessID
	if err := json.Unmarshal(text, &id); err != nil {
		id = ProcessID{} // the daemon was killed while it wrote
	}
	if id.PID > 0 {
		if r.process, err = id.reopen(); err != nil && !errors.Is(err, ErrNoSuchProcess) {
			return err
		}
	}
	m.log.Info("going on with broken start", "machine", name, "runner", id.PID, "alive", r.process != nil)
	r.broken = true
	r.booting = r.process != nil && m.config.Runner != nil // else there is nothing to go on with
	r.release = m.take(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs[name] = r
	m.background.Go(r.goOn)
	return nil
}

// known reports whether there is a machine of that name, or a run of one.
func (m *Manager) known(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs[name] != nil || m.table.byName[name] != nil
}

// goOn sees a broken start to its end, one way or the other.
func (r *run) goOn() {
	err := errors.New("its runner is not known")
	if r.isBooting() {
		ctx, cancel := context.WithTimeout(r.m.ctx, goOnLimit)
		defer cancel()
		if _, err = r.boot(ctx, r.await); err == nil {
			return
		}
	} else {
		err = errors.Join(err, r.clean())
	}
	r.m.log.Warn("broken start is given up", "machine", r.name, "error", err)
	r.finish()
}

// await waits for the machine of a runner that runs already.
func (r *run) await(ctx context.Context) (machine Machine, err error) {
	spec, image, err := r.m.runSpec(ctx, r.name)
	if err != nil {
		return Machine{}, err
	}
	machine = r.m.machineOf(ctx, spec, image)
	if r.unit, err = r.m.units.UnitOf(ctx, r.process.PID); err != nil && !errors.Is(err, ErrNoSuchProcess) {
		return Machine{}, err
	}
	// What the runner said while nobody listened is lost.
	if r.socket, err = listenNotify(r.m.notifyDir(), r.name); err != nil {
		return Machine{}, err
	}
	tick := time.NewTicker(leaderStep)
	defer tick.Stop()
	return r.awaitMachine(ctx, machine, tick.C)
}

// leaderBelow returns the child of a process that is process 1 of a PID namespace,
// 0 if there is none.
func leaderBelow(pid int) int {
	paths, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return 0
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if isInitBelow(text, pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return child
		}
	}
	return 0
}

// isInitBelow looks at /proc/PID/status, see proc_pid_status(5).
func isInitBelow(status []byte, parent int) bool {
	child, leads := false, false
	for line := range bytes.Lines(status) {
		key, value, _ := strings.Cut(string(line), ":")
		switch fields := strings.Fields(value); key {
		case "PPid":
			child = len(fields) == 1 && fields[0] == strconv.Itoa(parent)
		case "NSpid":
			leads = len(fields) > 1 && fields[len(fields)-1] == "1"
		}
	}
	return child && leads
}
