package runner

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

var (
	// ErrNotInstalled says that the program which runs machines is not on this
	// host.
	ErrNotInstalled = errors.New("no program to run machines with is installed")
	// ErrUnsupported says that the runner cannot run this kind of image here.
	ErrUnsupported = errors.New("image cannot be run on this host")
	// ErrInvalidSpec says that a Spec is not one thing to run under one name.
	ErrInvalidSpec = errors.New("invalid machine to run")
)

// ExitReboot is the exit status by which systemd-nspawn, run with --keep-unit,
// says that the guest asked for a reboot: start the same command again. Every
// other status ends the machine.
const ExitReboot = 133

// Runner is one way of running a machine.
type Runner interface {
	// Name is a word for messages and the "service" of a registration, such as
	// "systemd-nspawn".
	Name() string
	// Command returns the command that runs the machine. Errors wrap
	// ErrUnsupported or ErrInvalidSpec.
	Command(Spec) (Command, error)
}

// Spec says what to run. Exactly one of Directory and Disk is set.
type Spec struct {
	// Machine is the name of the machine.
	Machine string
	// Directory is the absolute path of a directory or subvolume.
	Directory string
	// Disk is the absolute path of a raw image file or of a block device.
	Disk string
	// ReadOnly runs the image without changing it.
	ReadOnly bool
}

// Command is what to execute. It says on NOTIFY_SOCKET (sd_notify(3))
// "X_NSPAWN_LEADER_PID=PID" as soon as the leader exists and "READY=1" once the
// guest is set up, a moment before the leader executes the guest's init; both come
// from the pid of Argv. Its standard output is the guest's console.
type Command struct {
	// Argv begins with an absolute path.
	Argv []string
	// Env is the whole environment but NOTIFY_SOCKET.
	Env []string
}

func (s Spec) check() error {
	if s.Machine == "" || strings.HasPrefix(s.Machine, "-") || strings.ContainsAny(s.Machine, "/\x00") {
		return fmt.Errorf("machine name %q: %w", s.Machine, ErrInvalidSpec)
	}
	if (s.Directory == "") == (s.Disk == "") {
		return fmt.Errorf("machine %s needs a directory or a disk: %w", s.Machine, ErrInvalidSpec)
	}
	if path := s.Directory + s.Disk; !filepath.IsAbs(path) || strings.Contains(path, "\x00") {
		return fmt.Errorf("path %q of machine %s: %w", path, s.Machine, ErrInvalidSpec)
	}
	return nil
}
