package machineapi

import (
	"context"
	"os"
	"strings"

	"berth/cmd/internal/bus"
	"berth/cmd/internal/varlink"
	"berth/machined"
)

// openMode is what a terminal is opened for.
type openMode string

const (
	openTTY   openMode = "tty"
	openLogin openMode = "login"
	openShell openMode = "shell"
)

// openActions are asked about for machines, and for the host.
var openActions = map[openMode]struct{ machine, host string }{
	openTTY:   {actionOpenPTY, actionHostOpenPTY},
	openLogin: {actionLogin, actionHostLogin},
	openShell: {actionShell, actionHostShell},
}

func (mode openMode) action(m machined.Machine) string {
	if m.Class == machined.ClassHost {
		return openActions[mode].host
	}
	return openActions[mode].machine
}

// details are what polkit is told. Of a shell it hears what will be run.
func (mode openMode) details(m machined.Machine, r machined.ShellRequest) map[string]string {
	about := details(m.Name, string(mode))
	switch mode {
	case openTTY:
		delete(about, "verb")
	case openShell:
		about["user"], about["program"], about["command_line"] = r.User, r.Path, strings.Join(r.Args, " ")
	}
	return about
}

// open opens the terminal once that is allowed.
func (s *Service) open(ctx context.Context, mode openMode, name string, r machined.ShellRequest) (machined.Terminal, error) {
	switch mode {
	case openLogin:
		return s.Manager.OpenLogin(ctx, name)
	case openShell:
		return s.Manager.OpenShell(ctx, name, r)
	}
	return s.Manager.OpenPTY(ctx, name)
}

// mayOpen refuses before anybody is asked for a password.
func (s *Service) mayOpen(ctx context.Context, mode openMode, m machined.Machine) error {
	if mode == openTTY {
		return m.HasInside()
	}
	return s.Manager.SafeToEnter(ctx, m)
}

func (b *Bus) openBus(
	ctx context.Context, call *bus.Call, mode openMode, name string, r machined.ShellRequest,
) (*os.File, string, error) {
	m, err := b.Manager.Find(name)
	if err == nil && mode == openShell {
		r, err = r.Complete()
	}
	if err == nil {
		err = b.mayOpen(ctx, mode, m)
	}
	if err != nil {
		return nil, "", busError(err)
	}
	if m.Class == machined.ClassHost || m.UID != call.Caller().UID {
		if err := b.authorizeBus(ctx, call, mode.action(m), mode.details(m, r)); err != nil {
			return nil, "", err
		}
	}
	terminal, err := b.open(m.Pin(ctx), mode, name, r)
	return terminal.File, terminal.Path, busError(err)
}

func (b *Bus) openMachinePTY(ctx context.Context, call *bus.Call, name string) (*os.File, string, error) {
	return b.openBus(ctx, call, openTTY, name, machined.ShellRequest{})
}

func (b *Bus) openMachineLogin(ctx context.Context, call *bus.Call, name string) (*os.File, string, error) {
	return b.openBus(ctx, call, openLogin, name, machined.ShellRequest{})
}

func (b *Bus) openMachineShell(
	ctx context.Context, call *bus.Call, name, user, path string, args, environment []string,
) (*os.File, string, error) {
	return b.openBus(ctx, call, openShell, name, machined.ShellRequest{User: user, Path: path, Args: args, Env: environment})
}

func (b *Bus) openRootDirectory(ctx context.Context, call *bus.Call, name string) (*os.File, error) {
	m, err := b.Manager.Find(name)
	if err == nil {
		err = m.HasInside()
	}
	if err != nil {
		return nil, busError(err)
	}
	if err := b.authorizeBus(ctx, call, actionManageMachines, details(name, "open_root_directory")); err != nil {
		return nil, err
	}
	dir, err := b.Manager.OpenRootDirectory(m.Pin(ctx), name)
	return dir, busError(err)
}

// openParameters are those of Open that count.
type openParameters struct {
	lookup
	Mode        openMode `json:"mode"`
	User        string   `json:"user"`
	Path        string   `json:"path"`
	Args        []string `json:"args"`
	Environment []string `json:"environment"`
}

// check finds out which parameter it is that the core would refuse.
func (in openParameters) check() error {
	for _, one := range []struct {
		parameter string
		request   machined.ShellRequest
	}{
		{"user", machined.ShellRequest{User: in.User}},
		{"environment", machined.ShellRequest{Env: in.Environment}},
		{"path", machined.ShellRequest{Path: in.Path}},
		{"args", machined.ShellRequest{Path: "/", Args: in.Args}},
	} {
		if _, err := one.request.Complete(); err != nil {
			return varlink.InvalidParameter(one.parameter)
		}
	}
	return nil
}

func (s machines) openTerminal(ctx context.Context, call *varlink.Call) error {
	var in openParameters
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	request := machined.ShellRequest{User: in.User, Path: in.Path, Args: in.Args, Env: in.Environment}
	request, err := request.Complete()
	if err != nil {
		return wireError(err)
	}
	m, err := s.find(ctx, call, in.lookup)
	if err != nil {
		return err
	}
	if err := s.mayOpen(ctx, in.Mode, m); err != nil {
		return wireError(err)
	}
	if m.Class == machined.ClassHost || m.UID != call.Peer().UID {
		if err := s.authorize(ctx, call, in.Mode.action(m), in.Mode.details(m, request), in.Interactive); err != nil {
			return err
		}
	}
	terminal, err := s.open(m.Pin(ctx), in.Mode, m.Name, request)
	if err != nil {
		return wireError(err)
	}
	return replyFile(call, terminal.File, struct {
		FD   int    `json:"ptyFileDescriptor"`
		Path string `json:"ptyPath"`
	}{0, terminal.Path})
}

func (s machines) openRoot(ctx context.Context, call *varlink.Call) error {
	var in lookup
	if err := call.Parameters(&in); err != nil {
		return err
	}
	m, err := s.find(ctx, call, in)
	if err != nil {
		return err
	}
	if err := m.HasInside(); err != nil {
		return wireError(err)
	}
	if err := s.authorize(ctx, call, actionManageMachines, details(m.Name, "open_root_directory"), in.Interactive); err != nil {
		return err
	}
	dir, err := s.Manager.OpenRootDirectory(m.Pin(ctx), m.Name)
	if err != nil {
		return wireError(err)
	}
	return replyFile(call, dir, struct {
		FD int `json:"fileDescriptor"`
	}{0})
}

// replyFile sends a reply with a file and closes that.
func replyFile(call *varlink.Call, f *os.File, reply any) error {
	defer f.Close() //nolint:errcheck // nothing was written
	return call.Reply(reply, f)
}
