package machined

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"berth/images"
	"berth/machined/nsenter"
)

// OSRelease reads a machine's os-release(5), in the order of the file. A machine
// without one is os.ErrNotExist.
func (m *Manager) OSRelease(ctx context.Context, name string) (fields []images.KeyValue, err error) {
	err = m.look(ctx, name, func(ctx context.Context, machine Machine, leader *Process) error {
		text, err := m.apart.OSRelease(ctx, machine.apart(leader))
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
	err = m.look(ctx, name, func(ctx context.Context, machine Machine, leader *Process) (err error) {
		dir, err = m.apart.RootDirectory(ctx, machine.apart(leader))
		return err
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
	err = m.enter(ctx, name, func(machine Machine, t nsenter.Target) (err error) {
		if machine.Class == ClassHost {
			return nil
		}
		shift, err = shiftOf(t)
		return err
	})
	return shift, err
}

func shiftOf(t nsenter.Target) (uint32, error) {
	uids, err := readIDMap(t, UserIDs)
	if err != nil {
		return 0, err
	}
	gids, err := readIDMap(t, GroupIDs)
	if err != nil {
		return 0, err
	}
	return shiftBetween(uids, gids)
}

// rootOf returns the number on the host of a machine's root, whatever else is
// mapped.
func rootOf(t nsenter.Target) (uint32, error) {
	uids, err := readIDMap(t, UserIDs)
	if err != nil {
		return 0, err
	}
	for _, r := range uids {
		if r.inner == 0 {
			return r.outer, nil
		}
	}
	return 0, fmt.Errorf("machine has no root: %w", ErrNotSupported)
}

// minShiftRange is what the original demands: every id but nobody.
const minShiftRange = 65534

// shiftBetween judges two maps.
func shiftBetween(uids, gids []idRange) (uint32, error) {
	if len(uids) != 1 || !slices.Equal(uids, gids) || uids[0].inner != 0 || uids[0].length < minShiftRange {
		return 0, ErrComplexMapping
	}
	return uids[0].outer, nil
}
