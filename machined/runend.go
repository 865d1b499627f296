package machined

import (
	"context"
	"errors"
	"syscall"

	"berth/machined/runner"
)

// clean kills what is left of the runner and its machine and waits for the end
// of it. The run has no process afterwards.
func (r *run) clean() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.m.ctx), cleanLimit)
	defer cancel()
	var errs []error
	if r.process != nil || r.broken {
		errs = append(errs, r.kill(ctx))
	}
	if r.process != nil {
		errs = append(errs, r.reap(ctx))
	}
	errs = append(errs, r.close(), removeFile(r.startFile()))
	r.m.forget(r.name)
	return errors.Join(errs...)
}

// kill ends the whole unit, the runner and the leader.
func (r *run) kill(ctx context.Context) error {
	unit := r.unit
	if unit.Name == "" {
		unit.Name = ScopeName(r.name)
	}
	var first []*Process
	if r.process != nil {
		first = append(first, r.process)
	}
	err := r.m.units.Stop(ctx, unit, 0, first...)
	if h, notFound := r.m.hold(ctx, r.name); notFound == nil {
		// Where there is no unit, or it does not hold the leader.
		err = errors.Join(err, ignoreEnded(h.leader.Signal(syscall.SIGKILL)), h.close())
	}
	if cleaner, ok := r.m.config.Runner.(runner.Cleaner); ok && unit.Cgroup != "" {
		err = errors.Join(err, cleaner.Clean(ctx, unit.Cgroup))
	}
	return err
}

// close gives up what the run holds of the runner.
func (r *run) close() error {
	var err error
	if r.socket != nil {
		err = r.socket.close()
		r.socket = nil
	}
	if r.process != nil {
		err = errors.Join(err, r.process.Close())
		r.process = nil
	}
	return err
}

// reap waits for a child of ours that was killed; its status is of no interest.
func (r *run) reap(ctx context.Context) error {
	if !r.process.child {
		return nil
	}
	if ended, err := r.m.watch.wait(ctx, r.process, cleanLimit); !ended || err != nil {
		return err
	}
	_, err := r.process.ExitStatus()
	return err
}

// forget takes the machine out of the table if the watch has not done so yet.
func (m *Manager) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table.byName[name]; e != nil {
		m.finalize(e)
	}
}

// finish gives the name back.
func (r *run) finish() {
	r.m.mu.Lock()
	delete(r.m.runs, r.name)
	r.m.mu.Unlock()
	r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
}

// resume takes a run of an earlier daemon back if its runner is still alive, even
// if the leader is not: the runner may be about to ask for a reboot.
func (m *Manager) resume(machine Machine) {
	if !machine.managed || m.config.Runner == nil {
		return
	}
	process, err := machine.Supervisor.reopen()
	if err != nil {
		return
	}
	r := newRun(m, machine.Name, m.take(machine.Name))
	r.booting = false
	r.process = process
	r.unit = Unit{Name: machine.Unit, Cgroup: machine.cgroup}
	if r.socket, err = listenNotify(m.notifyDir(), r.name); err != nil {
		m.log.Warn("notifications are not received", "machine", r.name, "error", err)
	} else {
		_, enough := r.socket.read(process.PID)
		close(enough)
	}
	m.mu.Lock()
	m.runs[machine.Name] = r
	m.mu.Unlock()
	if _, err := m.watch.add(process, r.onEnd); err != nil {
		m.log.Error("machine will not be started again when it reboots", "machine", machine.Name, "error", err)
	}
}
