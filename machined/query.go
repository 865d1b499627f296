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
		if err != nil {
			return fmt.Errorf("read OS release: %w", err)
		}
		fields = images.ParseOSRelease(text)
		return nil
	})
	return fields, err
}

// UIDShift returns the number on the host of a machine's uid 0, where the
// machine maps one range of at least 65534 ids from 0 on, the same for users
// and groups. Any other mapping is [ErrNotSupported].
func (m *Manager) UIDShift(ctx context.Context, name string) (shift uint32, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	machine, leader, err := m.inside(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, leader.Close()) }()
	switch machine.Class {
	case ClassHost:
		return 0, nil
	case ClassVM:
		return 0, fmt.Errorf("look into virtual machine %s: %w", name, ErrNotSupported)
	}
	users, err := readIDMap(leader, UserIDs)
	groups, groupErr := readIDMap(leader, GroupIDs)
	if err = errors.Join(err, groupErr); errors.Is(err, ErrNoSuchProcess) {
		err = ErrNoSuchMachine
	}
	if err == nil {
		shift, err = shiftOf(users, groups)
	}
	if err != nil {
		return 0, fmt.Errorf("machine %s: %w", name, err)
	}
	return shift, nil
}

// minShiftRange is what the original demands: every id but nobody.
const minShiftRange = 65534

func shiftOf(users, groups []idRange) (uint32, error) {
	if len(users) != 1 || !slices.Equal(users, groups) || users[0].inner != 0 ||
		users[0].length < minShiftRange || !ValidID(users[0].outer) {
		return 0, fmt.Errorf("complex id mapping: %w", ErrNotSupported)
	}
	return users[0].outer, nil
}
