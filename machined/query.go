package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/images"
	"berth/machined/nsenter"
)

// maxOSRelease bounds the file that is read of a machine.
const maxOSRelease = 256 << 10

// OSRelease reads a machine's os-release(5), in the order of the file. A machine
// without one is os.ErrNotExist.
func (m *Manager) OSRelease(ctx context.Context, name string) (fields []images.KeyValue, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = m.enter(name, func(_ Machine, t nsenter.Target) (err error) {
		root, err := t.Root()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, root.Close()) }()
		text, err := nsenter.ReadFile(root, "/etc/os-release", maxOSRelease)
		if errors.Is(err, os.ErrNotExist) {
			text, err = nsenter.ReadFile(root, "/usr/lib/os-release", maxOSRelease)
		}
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("no OS release information in there: %w", err)
		}
		if err != nil {
			return fmt.Errorf("read OS release: %w", err)
		}
		fields = images.ParseOSRelease(text)
		return nil
	})
	return fields, err
}

// OpenRootDirectory opens the root directory of a container, or of the host, to
// look names up in and to list. [ErrNotSupported] for virtual machines.
func (m *Manager) OpenRootDirectory(ctx context.Context, name string) (dir *os.File, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = m.enter(name, func(_ Machine, t nsenter.Target) (err error) {
		root, err := t.Root()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, root.Close()) }()
		fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open root directory: %w", err)
		}
		dir = os.NewFile(uintptr(fd), "/")
		return nil
	})
	return dir, err
}

// UIDShift returns the number on the host of a machine's uid 0, where the
// machine maps one range of at least 65534 ids from 0 on, the same for users
// and groups. Any other mapping is [ErrComplexMapping].
func (m *Manager) UIDShift(ctx context.Context, name string) (shift uint32, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err = m.enter(name, func(machine Machine, t nsenter.Target) (err error) {
		if machine.Class == ClassHost {
			return nil
		}
		shift, err = shiftOf(t)
		return err
	})
	return shift, err
}

func shiftOf(t nsenter.Target) (uint32, error) {
	uids, err := idMap(t, "uid_map")
	if err != nil {
		return 0, err
	}
	gids, err := idMap(t, "gid_map")
	if err != nil {
		return 0, err
	}
	return parseShift(uids, gids)
}

// idMap reads a map of the leader's user namespace; empty on kernels that have
// none.
func idMap(t nsenter.Target, name string) (string, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(t.PID) + "/" + name)
	if errors.Is(err, unix.ESRCH) {
		err = nsenter.ErrGone
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read id map: %w", err)
	}
	// Only now is it sure that the map was the leader's.
	if _, err := t.Foreign(); err != nil {
		return "", err
	}
	return string(text), nil
}

// rootOf returns the number on the host of a machine's root, whatever else is
// mapped.
func rootOf(t nsenter.Target) (uint32, error) {
	uids, err := idMap(t, "uid_map")
	if err != nil || uids == "" {
		return 0, err
	}
	for line := range strings.Lines(uids) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "0" {
			n, err := strconv.ParseUint(fields[1], 10, 32)
			return uint32(n), err
		}
	}
	return 0, fmt.Errorf("machine has no root: %w", ErrNotSupported)
}

// minShiftRange is what the original demands: every id but nobody.
const minShiftRange = 65534

// parseShift reads the two maps (user_namespaces(7)). Kernels without user
// namespaces have none.
func parseShift(uids, gids string) (uint32, error) {
	if uids == "" && gids == "" {
		return 0, nil
	}
	fields := strings.Fields(uids)
	if uids != gids || len(fields) != 3 {
		return 0, ErrComplexMapping
	}
	var numbers [3]uint32
	for i, field := range fields {
		n, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrComplexMapping, err)
		}
		numbers[i] = uint32(n)
	}
	if inner, length := numbers[0], numbers[2]; inner != 0 || length < minShiftRange {
		return 0, ErrComplexMapping
	}
	return numbers[1], nil
}
