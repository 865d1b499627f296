package machined

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"berth/machined/nsenter"
)

// IDKind says whether numbers are those of users or of groups.
type IDKind string

// The kinds of numbers, as the kernel's files are named.
const (
	UserIDs  IDKind = "uid"
	GroupIDs IDKind = "gid"
)

// HostIDs is how many numbers, from 0 on, are the host's own: none of them is
// ever looked for in a machine.
const HostIDs = 1 << 16

// ValidID reports whether a number can be a user's or a group's. The two that
// mean "none" in the 16 and 32 bit system calls cannot.
func ValidID(id uint32) bool { return id != math.MaxUint16 && id != math.MaxUint32 }

// MapFrom translates a user or group of a container into the host's.
// [ErrInvalidArgument] for what is no id, [ErrNotSupported] unless the machine
// is a container, [ErrNoMapping] if the container has no such id.
func (m *Manager) MapFrom(ctx context.Context, name string, kind IDKind, inner uint32) (outer uint32, err error) {
	if err := checkID(ctx, kind, inner); err != nil {
		return 0, err
	}
	machine, leader, err := m.inside(ctx, name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, leader.Close()) }()
	if machine.Class != ClassContainer {
		return 0, fmt.Errorf("map %s %d of machine %s: %w", kind, inner, name, ErrNotSupported)
	}
	ranges, err := readIDMap(leader.target(), kind)
	if errors.Is(err, nsenter.ErrGone) {
		err = ErrNoSuchMachine
	}
	if err != nil {
		return 0, fmt.Errorf("machine %s: %w", name, err)
	}
	for _, r := range ranges {
		if outer, ok := translate(inner, r.inner, r.outer, r.length); ok {
			return outer, nil
		}
	}
	return 0, fmt.Errorf("%s %d of machine %s: %w", kind, inner, name, ErrNoMapping)
}

// MapTo finds the container that a user or group of the host belongs to, and
// its number there. [ErrInvalidArgument] for what is no id, [ErrHostID] for the
// host's own, [ErrNoMapping] if no container has it.
func (m *Manager) MapTo(ctx context.Context, kind IDKind, outer uint32) (Machine, uint32, error) {
	if err := checkID(ctx, kind, outer); err != nil {
		return Machine{}, 0, err
	}
	if outer < HostIDs {
		return Machine{}, 0, fmt.Errorf("%s %d: %w", kind, outer, ErrHostID)
	}
	for _, machine := range m.List() {
		if machine.Class != ClassContainer {
			continue
		}
		// A machine that ends meanwhile, or whose map cannot be read, owns nothing;
		// the others still may.
		if owner, inner, ok := m.owner(ctx, machine.Name, kind, outer); ok {
			return owner, inner, nil
		}
		if err := ctx.Err(); err != nil {
			return Machine{}, 0, err
		}
	}
	return Machine{}, 0, fmt.Errorf("%s %d: %w", kind, outer, ErrNoMapping)
}

func checkID(ctx context.Context, kind IDKind, id uint32) error {
	if !ValidID(id) {
		return fmt.Errorf("%w: %d is no %s", ErrInvalidArgument, id, kind)
	}
	return ctx.Err()
}

// owner looks whether a number belongs to a container. It leaves out ranges that
// begin with the host's root: such a container has no user namespace, and would
// own every user of the host.
func (m *Manager) owner(ctx context.Context, name string, kind IDKind, outer uint32) (machine Machine, inner uint32, ok bool) {
	machine, leader, err := m.inside(ctx, name)
	if err != nil {
		return Machine{}, 0, false
	}
	defer leader.Close() //nolint:errcheck // nothing was written
	ranges, err := readIDMap(leader.target(), kind)
	if err != nil || machine.Class != ClassContainer {
		return Machine{}, 0, false
	}
	for _, r := range ranges {
		if r.outer == 0 {
			continue
		}
		if inner, ok := translate(outer, r.outer, r.inner, r.length); ok {
			return machine, inner, true
		}
	}
	return Machine{}, 0, false
}

// idRange is a line of user_namespaces(7)'s uid_map: length numbers from inner
// on are those from outer on in the reader's namespace.
type idRange struct{ inner, outer, length uint32 }

// translate moves id from a range that begins with from to the one that begins
// with to. A range without counterpart begins with the number that is no id.
func translate(id, from, to, length uint32) (uint32, bool) {
	if id < from || id-from >= length {
		return 0, false
	}
	moved := uint64(to) + uint64(id-from)
	if to == math.MaxUint32 || moved > math.MaxUint32 || !ValidID(uint32(moved)) {
		return 0, false
	}
	return uint32(moved), true
}

// readIDMap reads a map of the leader's user namespace; [nsenter.ErrGone] if it has
// ended.
func readIDMap(t nsenter.Target, kind IDKind) ([]idRange, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(t.PID) + "/" + string(kind) + "_map")
	// Only now is it known whose map it was.
	if err := t.Alive(); err != nil {
		return nil, err
	}
	if errors.Is(err, os.ErrNotExist) {
		return []idRange{{length: math.MaxUint32}}, nil // a kernel without user namespaces
	}
	if err != nil {
		return nil, fmt.Errorf("read id map: %w", err)
	}
	return parseIDMap(string(text))
}

func parseIDMap(text string) ([]idRange, error) {
	var ranges []idRange
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("id map has a line of %d fields", len(fields))
		}
		var numbers [3]uint32
		for i, field := range fields {
			n, err := parseUint32(field)
			if err != nil {
				return nil, fmt.Errorf("id map: %w", err)
			}
			numbers[i] = n
		}
		ranges = append(ranges, idRange{numbers[0], numbers[1], numbers[2]})
	}
	return ranges, nil
}
