package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"berth/machined/runner"
)

// run is a machine that was started here, from the first start to the end that
// is not a reboot. It holds the reservation of the name all that time. While the
// machine runs there is no goroutine for it: the watch of processes calls back.
type run struct {
	m       *Manager
	name    string
	release func() // of the name

	mu      sync.Mutex
	booting bool
	stopped bool          // somebody wants it to end: no reboot
	abort   func()        // ends the attempt to boot it that is under way
	changed chan struct{} // closed and replaced when booting changes, closed at the end

	// What follows belongs to whoever drives the run: boot, then ended.
	process *Process // the runner
	socket  *notifySocket
	unit    Unit
	starts  []time.Time // the latest, for startLimit
	logEnd  int64       // of the log when the runner was started
	broken  bool        // another daemon began it: there may be a unit without a process known
}

// A machine that is started startLimit times within startWindow is given up.
const (
	startLimit  = 5
	startWindow = 10 * time.Second
	// cleanLimit bounds the work after an end, so that nothing waits for ever for
	// a process that the kernel cannot kill.
	cleanLimit = 30 * time.Second
)

func newRun(m *Manager, name string, release func()) *run {
	return &run{m: m, name: name, release: release, booting: true, changed: make(chan struct{})}
}

// state tells whether the machine is being started, and what is closed when
// that changes.
func (r *run) state() (booting bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.booting, r.changed
}

func (r *run) isBooting() bool {
	booting, _ := r.state()
	return booting
}

func (r *run) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// stop keeps a reboot from happening, and ends an attempt to boot the machine.
func (r *run) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.abort != nil {
		r.abort()
	}
}

// errTerminated is why a start fails that somebody ended.
var errTerminated = fmt.Errorf("%w: the machine was terminated", ErrStartFailed)

// abortable has stop end an attempt to boot.
func (r *run) abortable(abort context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abort = func() { abort(errTerminated) }
	if r.stopped {
		r.abort()
	}
}

func (r *run) setBooting(now bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.booting = now
	close(r.changed)
	r.changed = make(chan struct{})
}

// boot makes an attempt, of launch or await, and returns when the machine is
// registered. If it fails, nothing of the attempt is left.
func (r *run) boot(ctx context.Context, attempt func(context.Context) (Machine, error)) (Machine, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.m.ctx, func() { cancel(ErrClosed) })()
	r.abortable(cancel)
	machine, err := attempt(ctx)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			err = errors.Join(context.Cause(ctx), err) // what it broke off tells little
		}
		return Machine{}, errors.Join(err, r.clean())
	}
	if err := removeFile(r.startFile()); err != nil {
		r.m.log.Warn("start stays noted", "machine", r.name, "error", err)
	}
	r.setBooting(false)
	// From here on the end of the runner is dealt with in the background.
	if _, err := r.m.watch.add(r.process, r.onEnd); err != nil {
		return Machine{}, errors.Join(err, r.clean())
	}
	if r.isStopped() {
		if err := r.m.Terminate(context.WithoutCancel(ctx), r.name); err != nil && !errors.Is(err, ErrNoSuchMachine) {
			return machine, err
		}
	}
	return machine, nil
}

func (r *run) launch(ctx context.Context) (Machine, error) {
	spec, image, err := r.m.runSpec(ctx, r.name)
	if err != nil {
		return Machine{}, err
	}
	machine := r.m.machineOf(ctx, spec, image)
	command, err := r.m.config.Runner.Command(spec)
	if err != nil {
		return Machine{}, err
	}
	if r.socket, err = listenNotify(r.m.notifyDir(), r.name); err != nil {
		return Machine{}, err
	}
	if err := r.spawn(ctx, command.Argv, r.socket.env(command.Env)); err != nil {
		return Machine{}, err
	}
	return r.awaitMachine(ctx, machine, nil)
}

// spawn starts the runner in the machine's unit, its output into the log.
func (r *run) spawn(ctx context.Context, argv, env []string) (err error) {
	log, end, err := r.m.logs.create(r.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open input of runner: %w", err)
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	if err := r.note(ProcessID{}); err != nil {
		return err
	}
	process, err := r.m.units.StartService(ctx, Service{
		Unit: ScopeName(r.name), Description: "Container " + r.name, Path: argv[0], Args: argv, Env: env,
		Files: []*os.File{null, log, log},
	})
	if err != nil {
		return err
	}
	r.process, r.logEnd = process, end
	if err := r.note(process.ProcessID); err != nil {
		return err
	}
	r.unit, err = r.m.units.UnitOf(ctx, process.PID)
	if errors.Is(err, ErrNoSuchProcess) {
		err = nil // it has ended already, which awaitMachine tells better
	}
	return err
}

// awaitMachine waits until the runner names the leader and registers it. With each
// look the runner's processes are looked at for a leader, too.
func (r *run) awaitMachine(ctx context.Context, machine Machine, look <-chan time.Time) (Machine, error) {
	ended := make(chan struct{})
	cancel, err := r.m.watch.add(r.process, func() { close(ended) })
	if err != nil {
		return Machine{}, err
	}
	defer cancel()
	notices, enough := r.socket.read(r.process.PID)
	defer close(enough)
	for {
		leader := 0
		select {
		case n := <-notices:
			leader = n.leader
		case <-look:
			leader = leaderBelow(r.process.PID)
		case <-ended:
			return Machine{}, r.failure()
		case <-ctx.Done():
			return Machine{}, context.Cause(ctx)
		}
		if leader == 0 {
			continue
		}
		machine, err := r.admit(ctx, machine, leader)
		if errors.Is(err, ErrNoSuchProcess) {
			continue // the runner's own end tells why
		}
		return machine, err
	}
}

func (r *run) admit(ctx context.Context, machine Machine, pid int) (Machine, error) {
	leader, err := OpenProcess(pid)
	if err != nil {
		return Machine{}, err
	}
	supervisor, err := r.process.Dup()
	if err != nil {
		return Machine{}, errors.Join(err, leader.Close())
	}
	return r.m.admit(ctx, &entry{Machine: machine, leader: leader, supervisor: supervisor}, false)
}

// failure says why the runner ended before there was a machine.
func (r *run) failure() error {
	status, err := r.process.ExitStatus()
	said := r.m.logs.last(r.name, r.logEnd)
	if said == "" {
		said = "it said nothing"
	}
	return errors.Join(fmt.Errorf("%w: %s: %s: %s", ErrStartFailed, r.m.config.Runner.Name(), status, said), err)
}

// onEnd is called by the watch of processes.
func (r *run) onEnd() {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if !r.m.closed {
		r.m.background.Go(r.ended)
	}
}

// ended is the end of the runner: another start, or the end of the run.
func (r *run) ended() {
	status, err := r.process.ExitStatus()
	if err = errors.Join(err, r.clean()); err != nil {
		r.m.log.Error("machine leaves something behind", "machine", r.name, "error", err)
	}
	r.m.log.Info("runner ended", "machine", r.name, "status", status)
	if r.wantsReboot(status) {
		r.m.log.Info("machine reboots", "machine", r.name)
		r.setBooting(true)
		_, err := r.boot(r.m.ctx, r.launch)
		if err == nil {
			return
		}
		r.m.log.Error("machine does not come back", "machine", r.name, "error", err)
	}
	r.finish()
}

// wantsReboot judges an exit status and counts the starts.
func (r *run) wantsReboot(status ExitStatus) bool {
	if r.isStopped() || !status.Known || status.Signal != 0 || status.Code != runner.ExitReboot {
		return false
	}
	r.starts = append(r.starts, time.Now())
	if n := len(r.starts) - startLimit; n >= 0 {
		if time.Since(r.starts[n]) < startWindow {
			r.m.log.Error("machine reboots too fast and is given up", "machine", r.name)
			return false
		}
		r.starts = r.starts[n+1:]
	}
	return true
}
