package machineapi

import (
	"context"
	"errors"
	"os"
	"strings"

	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/machined"
	"berth/machined/nsenter"
)

// start starts a machine from the image of its name.
func (s *Service) start(ctx context.Context, call *varlink.Call) error {
	var in struct {
		Name        string `json:"name"`
		Interactive bool   `json:"allowInteractiveAuthentication"`
	}
	if err := call.Parameters(&in); err != nil {
		return err
	}
	if err := machined.ValidName(in.Name); err != nil {
		return berthError("InvalidRequest", refusal{"name", err.Error()})
	}
	if err := s.authorize(ctx, call, actionManageMachines, details(in.Name, "start"), in.Interactive); err != nil {
		return err
	}
	// A client that leaves does not stop what it asked for.
	_, err := s.Manager.Start(call.Detach(), caller(call), machined.StartRequest{Name: in.Name})
	switch {
	case errors.Is(err, images.ErrNotFound):
		return berthError("NoSuchImage", nil)
	case errors.Is(err, machined.ErrMachineExists):
		return berthError("MachineExists", nil)
	case err != nil:
		return berthError("StartFailed", reason{err.Error()})
	}
	return nil
}

// cloneWhileWanted copies an image as long as the client waits for it, and tells one that wants more how far it is.
func (s *Service) cloneWhileWanted(ctx context.Context, call *varlink.Call) error {
	err := s.clone(ctx, ctx, call, reports(call))
	if e, ok := errors.AsType[*varlink.Error](err); ok {
		if name, ok := strings.CutPrefix(e.Name, imageName+"."); ok {
			return berthError(name, e.Parameters)
		}
	}
	return err
}

// exec runs a program in a machine with the client's own descriptors.
func (s *Service) exec(ctx context.Context, call *varlink.Call) error {
	var in execParameters
	if err := call.Parameters(&in); err != nil {
		return err
	}
	m, err := s.find(ctx, call, lookup{Name: &in.Name})
	if err != nil {
		return err
	}
	if len(in.Command) == 0 {
		return berthError("InvalidRequest", refusal{"command", "it is empty"})
	}
	files := call.FDs()
	if len(files) != 3 {
		return berthError("InvalidRequest", refusal{"fileDescriptors", "standard input, output and error have to be sent along"})
	}
	if err := s.authorizeExec(ctx, call, m, in); err != nil {
		return err
	}
	result, err := s.Manager.Exec(m.Pin(ctx), m.Name, machined.ExecRequest{
		Argv: in.Command, Env: in.Environment, User: in.User, Dir: in.WorkingDirectory,
		Stdin: files[0], Stdout: files[1], Stderr: files[2],
	})
	switch {
	case errors.Is(err, machined.ErrNoSuchMachine):
		return wireError(err)
	case err != nil:
		return berthError("ExecFailed", execFailure{err.Error(), statusOf(err)})
	}
	return call.Reply(execResult{result.ExitCode, int(result.Signal)})
}

// statusOf is what a shell would end with if it could not run a program.
func statusOf(err error) int {
	switch {
	case errors.Is(err, nsenter.ErrCommandNotFound):
		return 127
	case errors.Is(err, nsenter.ErrNotExecutable):
		return 126
	}
	return 125
}

func (s *Service) authorizeExec(ctx context.Context, call *varlink.Call, m machined.Machine, in execParameters) error {
	action := actionShell
	if m.Class == machined.ClassHost {
		action = actionHostShell
	}
	about := details(m.Name, "shell")
	about["user"], about["program"] = in.User, in.Command[0]
	if m.Class == machined.ClassHost {
		return s.authorize(ctx, call, action, about, in.Interactive)
	}
	if m.UID == call.Peer().UID {
		return nil
	}
	return s.authorize(ctx, call, action, about, in.Interactive)
}

func berthError(name string, parameters any) error {
	return &varlink.Error{Name: berthName + "." + name, Parameters: parameters}
}

// stdio are the descriptors that Exec sends along.
func stdio(in, out, err *os.File) []*os.File { return []*os.File{in, out, err} }
