package machineapi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"berth/cmd/internal/varlink"
	"berth/images"
	"berth/machined"
)

// Service is machined behind its transports.
type Service struct {
	Manager *machined.Manager
	Auth    Authorizer
}

// Varlink adds the interfaces to a server, which must accept file descriptors.
func (s *Service) Varlink(server *varlink.Server) error {
	bootID, err := readBootID()
	if err != nil {
		return err
	}
	m := machines{s, bootID}
	for _, i := range []struct {
		description string
		methods     map[string]varlink.Handler
		options     []varlink.HandleOption
	}{
		// Register ignores what it does not know, so that newer clients get through;
		// a pid may be a number or a string too.
		{machineInterface, map[string]varlink.Handler{
			"Register": m.register, "Unregister": m.unregister, "Terminate": m.terminate,
			"Kill": m.kill, "List": m.list, "MapFrom": s.mapFrom, "MapTo": s.mapTo,
			"CopyFrom": m.copyFrom, "CopyTo": m.copyTo,
			"Open": m.openTerminal, "OpenRootDirectory": m.openRoot, "BindMount": m.bindMount,
		}, []varlink.HandleOption{varlink.IgnoreUnknown("Register"), varlink.LooseTypes("ProcessId")}},
		{imageInterface, map[string]varlink.Handler{
			"List": s.listImages, "Update": s.updateImage, "Clone": s.cloneImage,
			"Remove": s.removeImage, "SetPoolLimit": s.setPoolLimit, "CleanPool": s.cleanPool,
		}, nil},
		{berthInterface, map[string]varlink.Handler{
			"Start": s.start, "Exec": m.exec, "CloneImage": s.cloneWhileWanted,
		}, nil},
	} {
		if err := server.Handle(i.description, i.methods, i.options...); err != nil {
			return fmt.Errorf("serve Varlink: %w", err)
		}
	}
	return nil
}

// readBootID returns the id of this boot as 32 hexadecimal digits.
func readBootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""), nil
}

// errorNames maps what the core says to the names on the wire.
var errorNames = []struct {
	err  error
	name string
}{
	{machined.ErrNoSuchMachine, machineName + ".NoSuchMachine"},
	{machined.ErrNoMachineForPID, machineName + ".NoSuchMachine"},
	{machined.ErrMachineExists, machineName + ".MachineExists"},
	{machined.ErrNoPrivateNetworking, machineName + ".NoPrivateNetworking"},
	{machined.ErrTooManyOperations, machineName + ".TooManyOperations"},
	{machined.ErrNotSupported, machineName + ".NotSupported"},
	{machined.ErrNoBus, machineName + ".NoIPC"},
	{machined.ErrUnsafeMachine, varlink.ErrorPermissionDenied},
	{machined.ErrNoRunner, machineName + ".NotSupported"},
	{machined.ErrNotOwner, varlink.ErrorPermissionDenied},
	{images.ErrNotFound, imageName + ".NoSuchImage"},
	{images.ErrNotSupported, imageName + ".NotSupported"},
}

// wireError names an error; what has no name goes as io.systemd.System. The text
// goes along: clients of the stock daemons ignore it, ours shows it.
func wireError(err error) error {
	if _, ok := errors.AsType[*varlink.Error](err); ok || err == nil {
		return err
	}
	switch {
	case errors.Is(err, machined.ErrInvalidName), errors.Is(err, images.ErrInvalidName):
		return varlink.InvalidParameter("name")
	case errors.Is(err, machined.ErrInvalidArgument):
		return varlink.InvalidParameter("parameters")
	case errors.Is(err, machined.ErrNoSuchProcess):
		return varlink.SystemError(fmt.Errorf("%w (%w)", err, syscall.ESRCH))
	}
	for _, e := range errorNames {
		if errors.Is(err, e.err) {
			return &varlink.Error{Name: e.name}
		}
	}
	return err
}

// wireFileError is wireError for work on files, where the errors of the kernel
// that have a name go by it.
func wireFileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return varlink.PermissionDenied()
	case errors.Is(err, syscall.EOPNOTSUPP):
		return &varlink.Error{Name: machineName + ".NotSupported"}
	}
	return wireError(err)
}
