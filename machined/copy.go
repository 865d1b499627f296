package machined

import (
	"context"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"berth/images/copytree"
	"berth/machined/apart"
	"berth/machined/nsenter"
)

// CopyRequest says what to copy between the host and a container.
type CopyRequest struct {
	// Source and Destination are of the two sides; see [CheckPath]. An empty
	// Destination is the same path as the Source.
	Source, Destination string
	// Replace lets files take the place of existing ones.
	Replace bool
}

// CheckPath refuses paths that are not absolute and normalized with
// [ErrInvalidArgument]: all who look at such a path, polkit's rules among them,
// understand the same by it.
func CheckPath(p string) error {
	clean := path.Clean(p)
	if !path.IsAbs(p) || p != clean && p != clean+"/" || strings.Contains(p, "\x00") || len(p) >= unix.PathMax {
		return fmt.Errorf("%w: %q is not an absolute, normalized path", ErrInvalidArgument, p)
	}
	return nil
}

func (r CopyRequest) check() (CopyRequest, error) {
	if r.Destination == "" {
		r.Destination = r.Source
	}
	for _, p := range []string{r.Source, r.Destination} {
		if err := CheckPath(p); err != nil {
			return r, err
		}
		if path.Clean(p) == "/" {
			return r, fmt.Errorf("%w: the root directory cannot be copied as a whole", ErrInvalidArgument)
		}
	}
	return r, nil
}

// CopyFrom copies a file or tree of a container to the host. What is there
// already is treated as by [copytree.Merge]: an existing file is EEXIST, a
// directory is merged into. Owners are kept by number, unless the container has
// a user namespace of its own: then everything belongs to root on the host,
// setuid bits are dropped and device nodes, but for harmless ones, are refused
// (EPERM).
//
// It is an operation: [ErrTooManyOperations], and it ends with the container
// ([ErrNoSuchMachine]), or when it has not moved for two minutes. Anything but a
// container is [ErrNotSupported].
func (m *Manager) CopyFrom(ctx context.Context, name string, r CopyRequest) error {
	return m.copy(ctx, name, r, true)
}

// CopyTo copies a file or tree of the host into a container, as [Manager.CopyFrom]
// does in the other direction. In a user namespace everything belongs to the
// root of the container, unless its users have the numbers of the host's. A daemon
// that is not root can only make files of its user: EOVERFLOW if the root of the
// container is somebody else.
func (m *Manager) CopyTo(ctx context.Context, name string, r CopyRequest) error {
	return m.copy(ctx, name, r, false)
}

func (m *Manager) copy(ctx context.Context, name string, r CopyRequest, out bool) error {
	r, err := r.check()
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	request := apart.CopyRequest{Host: r.Source, Guest: r.Destination, Out: out, Replace: r.Replace}
	if out {
		request.Host, request.Guest = request.Guest, request.Host
	}
	what := fmt.Sprintf("copy %s to %s", r.Source, r.Destination)
	return m.operateIn(ctx, what, name, func(ctx context.Context, machine Machine, leader *Process) (err error) {
		if request.Owner, err = newOwner(leader.target(), out); err != nil {
			return err
		}
		return explain(m.apart.Copy(ctx, machine.apart(leader), request))
	})
}

// newOwner is whom copies belong to; nil means the owners of the originals. What
// comes out of a user namespace is not trusted even if that gives its users the
// numbers they have on the host: a filesystem of its own may pretend anything.
func newOwner(t nsenter.Target, out bool) (*copytree.Owner, error) {
	if os.Geteuid() != 0 {
		return plainOwner(t, out)
	}
	shift, err := shiftOf(t)
	if err != nil {
		return nil, err
	}
	foreign, err := t.Foreign()
	switch {
	case err != nil:
		return nil, err
	case foreign&nsenter.User != 0 && out:
		return &copytree.Owner{Distrust: true}, nil
	case shift != 0:
		return &copytree.Owner{UID: shift, GID: shift}, nil
	}
	return nil, nil
}

// plainOwner is newOwner for a daemon that is not root: it can give files to nobody
// but its user, who is also the root of his machine unless that has a range of
// ids.
func plainOwner(t nsenter.Target, out bool) (*copytree.Owner, error) {
	root, err := rootOf(t)
	if err != nil {
		return nil, err
	}
	if !out && int(root) != os.Geteuid() {
		return nil, fmt.Errorf("the root of the machine is user %d, who is not the user of the daemon: %w", root, unix.EOVERFLOW)
	}
	return &copytree.Owner{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Distrust: out}, nil
}
