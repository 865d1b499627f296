package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"

	"berth/machined"
)

// StartService implements [machined.Units]. The process is a child of the service
// manager, with three descriptors at most.
func (b *Backend) StartService(ctx context.Context, service machined.Service) (*machined.Process, error) {
	if name, ok := strings.CutSuffix(service.Unit, ".scope"); ok {
		service.Unit = name + ".service"
	}
	p, err := b.startService(ctx, service)
	if err != nil {
		return nil, fmt.Errorf("start unit %s: %w", service.Unit, err)
	}
	return p, nil
}

func (b *Backend) startService(ctx context.Context, service machined.Service) (*machined.Process, error) {
	if err := checkName(service.Unit); err != nil {
		return nil, err
	}
	if len(service.Files) > len(standardFiles) {
		return nil, fmt.Errorf("%w: %d files", machined.ErrNotSupported, len(service.Files))
	}
	// The service manager would tell this by a number.
	if _, err := os.Stat(service.Path); err != nil {
		return nil, err
	}
	unlock, err := b.names.lock(ctx, service.Unit)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := b.startTransient(ctx, service.Unit, serviceProperties(service)); err != nil {
		_, forget := b.track(ctx, service.Unit, true)
		return nil, errors.Join(err, forget)
	}
	var path dbus.ObjectPath
	if err := b.call(ctx, "GetUnit", service.Unit).Store(&path); err != nil {
		return nil, err
	}
	p, err := b.mainProcess(ctx, path)
	// Only now: the end of a unit that is followed makes it forgotten.
	_, trackErr := b.track(ctx, service.Unit, true)
	if err := errors.Join(err, trackErr); err != nil {
		return nil, err
	}
	return p, nil
}

var standardFiles = []string{"StandardInputFileDescriptor", "StandardOutputFileDescriptor", "StandardErrorFileDescriptor"}

// command is an element of ExecStart: path, arguments, whether failure counts as
// success.
type command struct {
	Path   string
	Args   []string
	Ignore bool
}

func serviceProperties(s machined.Service) properties {
	dir := s.Dir
	if dir == "" {
		dir = "/"
	}
	p := properties{
		set("Slice", slice), set("Description", s.Description), set("Type", "exec"),
		set("ExecStart", []command{{s.Path, s.Args, false}}), set("Environment", s.Env), set("WorkingDirectory", dir),
		// Who starts a machine ends it in order when it is told to.
		set("KillMode", "mixed"), set("Delegate", true), set("CollectMode", collect), set("AddRef", true),
		set("TasksMax", maxTasks),
	}
	for i, f := range s.Files {
		p = append(p, set(standardFiles[i], dbus.UnixFD(f.Fd())))
	}
	return p
}

// Values of ExecMainCode, as of si_code in sigaction(2).
const (
	exited = 1
	killed = 2
	dumped = 3
)

// mainProcess opens the process of a service that was started, or tells how it
// ended if it has.
func (b *Backend) mainProcess(ctx context.Context, path dbus.ObjectPath) (*machined.Process, error) {
	pid, err := property[uint32](ctx, b, path, serviceName, "MainPID")
	if err != nil {
		return nil, err
	}
	if pid != 0 {
		p, err := machined.OpenProcess(int(pid))
		if err != nil && !errors.Is(err, machined.ErrNoSuchProcess) {
			return nil, err
		}
		again, readErr := property[uint32](ctx, b, path, serviceName, "MainPID")
		if p != nil && again == pid {
			return p, nil // it was not reaped when it was opened
		}
		if p != nil {
			readErr = errors.Join(readErr, p.Close())
		}
		if readErr != nil {
			return nil, readErr
		}
	}
	return b.endedProcess(ctx, path)
}

func (b *Backend) endedProcess(ctx context.Context, path dbus.ObjectPath) (*machined.Process, error) {
	pid, err := property[uint32](ctx, b, path, serviceName, "ExecMainPID")
	code, codeErr := property[int32](ctx, b, path, serviceName, "ExecMainCode")
	status, statusErr := property[int32](ctx, b, path, serviceName, "ExecMainStatus")
	if err := errors.Join(err, codeErr, statusErr); err != nil {
		return nil, err
	}
	switch code {
	case exited:
		return machined.EndedProcess(int(pid), machined.ExitStatus{Code: int(status), Known: true})
	case killed, dumped:
		return machined.EndedProcess(int(pid), machined.ExitStatus{Signal: syscall.Signal(status), Known: true})
	}
	return nil, fmt.Errorf("%w: nobody knows its process", machined.ErrJobFailed)
}
