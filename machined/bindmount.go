package machined

import (
	"context"
	"errors"
	"fmt"
	"path"

	"berth/machined/apart"
)

// BindRequest says what of the host to mount where in a container.
type BindRequest struct {
	// Source is a path of the host, Destination one of the container; see
	// [CheckPath]. An empty Destination is the same path as the Source.
	Source, Destination string
	ReadOnly            bool
	// Mkdir makes the mount point, and directories above it, where missing.
	Mkdir bool
}

func (r BindRequest) check() (BindRequest, error) {
	if r.Destination == "" {
		r.Destination = r.Source
	}
	if err := errors.Join(CheckPath(r.Source), CheckPath(r.Destination)); err != nil {
		return r, err
	}
	r.Destination = path.Clean(r.Destination)
	if r.Destination == "/" {
		return r, fmt.Errorf("%w: nothing can be mounted over the root directory", ErrInvalidArgument)
	}
	return r, nil
}

// BindMount mounts a file or directory of the host, without what is mounted
// below it, into a running container, over whatever is mounted there already.
// Nothing that is mounted there later comes back to the host. Owners are the
// host's: in a container with a user namespace, files of the host's users belong
// to nobody, and the root of the container may undo ReadOnly, as he may for all
// mounts. EINVAL for a container that shares the host's mounts, and
// [ErrNotSupported] for anything but containers.
func (m *Manager) BindMount(ctx context.Context, name string, r BindRequest) error {
	r, err := r.check()
	if err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	return m.look(ctx, name, func(ctx context.Context, machine Machine, leader *Process) error {
		if machine.Class != ClassContainer {
			return fmt.Errorf("bind mount: it is no container: %w", ErrNotSupported)
		}
		request := apart.BindRequest{Source: r.Source, Destination: r.Destination, ReadOnly: r.ReadOnly, Mkdir: r.Mkdir}
		if owner, err := rootOf(leader.target()); err == nil {
			request.Owner = &owner
		} else if !errors.Is(err, ErrNotSupported) {
			return err
		}
		if err := m.apart.BindMount(ctx, machine.apart(leader), request); err != nil {
			return fmt.Errorf("bind mount %s on %s: %w", r.Source, r.Destination, err)
		}
		return nil
	})
}
