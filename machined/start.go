package machined

import (
	"context"
	"errors"
	"fmt"
	"os"

	"berth/images"
	"berth/machined/runner"
)

// StartRequest says which machine to start.
type StartRequest struct {
	Name string // of the image, and of the machine
}

// Start runs an image of class machine with the configured runner and returns
// as soon as the machine is registered. A machine of that name that is about to
// end is waited for. When ctx ends first nothing stays behind.
//
// The machine is the host's, not the caller's, because the runner is. Its guest
// may ask for a reboot; it is then started again under its name. A start that the
// daemon is killed in goes on with the next one, or is cleaned up.
//
// [ErrInvalidName], [ErrMachineExists], [ErrNoRunner], images.ErrNotFound,
// [ErrNotSupported] for images that cannot be run, [ErrStartFailed] with the
// last that the runner said.
func (m *Manager) Start(ctx context.Context, caller Caller, request StartRequest) (Machine, error) {
	machine, err := m.start(ctx, caller, request.Name)
	if err != nil {
		return Machine{}, fmt.Errorf("start machine %s: %w", request.Name, err)
	}
	return machine, nil
}

func (m *Manager) start(ctx context.Context, caller Caller, name string) (Machine, error) {
	if err := ValidName(name); err != nil {
		return Machine{}, err
	}
	if starter, ok := m.units.(ImageStarter); ok {
		return m.startImage(ctx, starter, name)
	}
	if m.config.Runner == nil {
		return Machine{}, ErrNoRunner
	}
	if _, _, err := m.runSpec(ctx, name); err != nil {
		return Machine{}, err
	}
	r, err := m.beginRun(ctx, name)
	if err != nil {
		return Machine{}, err
	}
	defer m.background.Done()
	m.log.Info("starting machine", "machine", name, "runner", m.config.Runner.Name(), "uid", caller.UID)
	machine, err := r.boot(ctx, r.launch)
	if err != nil {
		r.finish()
	}
	return machine, err
}

// startImage leaves a start to who knows how machines are started on this host.
// The name stays free for the machine, which registers itself.
func (m *Manager) startImage(ctx context.Context, starter ImageStarter, name string) (Machine, error) {
	store, err := m.store()
	if err != nil {
		return Machine{}, err
	}
	if _, err := store.Find(ctx, images.ClassMachine, name); err != nil {
		return Machine{}, err
	}
	if err := m.checkFree(name); err != nil {
		return Machine{}, err
	}
	if err := starter.StartImage(ctx, name); err != nil {
		return Machine{}, err
	}
	machine, err := m.Find(name)
	if err != nil {
		return Machine{}, fmt.Errorf("%w: it came up and did not register: %w", ErrStartFailed, err)
	}
	return machine, nil
}

// beginRun reserves the name for a run. The caller must call background.Done.
func (m *Manager) beginRun(ctx context.Context, name string) (*run, error) {
	for {
		r, busy, err := m.tryRun(name)
		if r != nil || err != nil {
			return r, err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-m.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// tryRun returns a channel that is closed when another attempt makes sense.
func (m *Manager) tryRun(name string) (_ *run, busy <-chan struct{}, err error) {
	if changed, err := m.runInTheWay(name); changed != nil || err != nil {
		return nil, changed, err
	}
	release, err := m.reserve(name)
	if err != nil {
		return nil, nil, err
	}
	r := newRun(m, name, release)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, ErrClosed
	}
	m.runs[name] = r
	m.background.Add(1)
	return r, nil, nil
}

// runInTheWay returns what to wait for if the last run of that name is ending,
// [ErrMachineExists] if it is not.
func (m *Manager) runInTheWay(name string) (changed <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.runs[name]
	if old == nil {
		return nil, nil
	}
	booting, changed := old.state()
	if e := m.table.byName[name]; booting || e != nil && !e.stopping && e.leader.Alive() {
		return nil, ErrMachineExists
	}
	return changed, nil
}

// runSpec finds the image and says how it is run.
func (m *Manager) runSpec(ctx context.Context, name string) (runner.Spec, images.Image, error) {
	store, err := m.store()
	if err != nil {
		return runner.Spec{}, images.Image{}, err
	}
	image, err := store.Find(ctx, images.ClassMachine, name)
	if err != nil {
		return runner.Spec{}, images.Image{}, err
	}
	spec := runner.Spec{Machine: name, ReadOnly: image.ReadOnly}
	switch image.Type {
	case images.TypeDirectory, images.TypeSubvolume:
		spec.Directory = image.Path
	case images.TypeRaw, images.TypeBlock:
		spec.Disk = image.Path
	default:
		return runner.Spec{}, images.Image{}, fmt.Errorf("image of type %s: %w", image.Type, ErrNotSupported)
	}
	return spec, image, nil
}

// machineOf describes the machine that is being started.
func (m *Manager) machineOf(ctx context.Context, spec runner.Spec, image images.Image) Machine {
	r := Registration{Name: spec.Machine, Class: ClassContainer, Service: m.config.Runner.Name(), RootDirectory: spec.Directory}
	machine := r.machine(uint32(os.Geteuid()))
	machine.managed, machine.supervised = true, true
	if spec.Directory != "" {
		// Reading it from a disk image would mean to mount that.
		if data, err := m.config.Images.Metadata(ctx, image); err == nil {
			machine.ID = data.MachineID
		} else if !errors.Is(err, images.ErrBusy) {
			m.log.Debug("machine id is not known", "machine", spec.Machine, "error", err)
		}
	}
	return machine
}
