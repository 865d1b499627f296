package apart

import (
	"context"
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"berth/images/copytree"
	"berth/machined/nsenter"
)

// CopyRequest says what to copy. Paths are absolute and normalized.
type CopyRequest struct {
	// Host and Guest are what is copied, and where to.
	Host, Guest string
	Out         bool            // from the machine to the host
	Replace     bool            // as of copytree.MergeOptions
	Owner       *copytree.Owner // as of copytree.MergeOptions
}

// place is a name in an open directory.
type place struct {
	dir  *os.File
	name string
}

func (r CopyRequest) do(ctx context.Context, t nsenter.Target) (err error) {
	host, err := hostPlace(r.Host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.dir.Close()) }()
	guest, err := guestPlace(t, r.Guest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guest.dir.Close()) }()
	from, to := host, guest
	if r.Out {
		from, to = guest, host
	}
	return copytree.Merge(ctx, from.dir, from.name, to.dir, to.name, copytree.MergeOptions{Replace: r.Replace, Owner: r.Owner})
}

// hostPlace opens the directory of a path of the host.
func hostPlace(name string) (place, error) {
	dir, base := path.Split(path.Clean(name))
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return place{}, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return place{os.NewFile(uintptr(fd), dir), base}, nil
}

// guestPlace opens the directory of a path of the machine, within its root.
func guestPlace(t nsenter.Target, name string) (_ place, err error) {
	root, err := t.Root()
	if err != nil {
		return place{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	dir, base := path.Split(path.Clean(name))
	f, err := nsenter.OpenDir(root, dir)
	return place{f, base}, err
}
