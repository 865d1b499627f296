package btrfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"unsafe"

	"golang.org/x/sys/unix"
)

// child is a subvolume that lies directly in another one, at name in the directory dir (relative, "." for the top).
type child struct{ dir, name string }

// children lists the subvolumes directly in f, which is the top of one. A child that goes away meanwhile is left out.
func children(f *os.File) ([]child, error) {
	refs, err := rootrefs(f)
	if err != nil {
		return nil, err
	}
	var found []child
	for _, ref := range refs {
		args := lookupUserArgs{dirid: ref.dirid, treeid: ref.treeid}
		err := ioctl(f, inodeLookupUser, unsafe.Pointer(&args))
		if errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("look up subvolume %d in %s: %w", ref.treeid, f.Name(), err)
		}
		found = append(found, child{dir: path.Clean(cString(args.path[:])), name: cString(args.name[:])})
	}
	return found, nil
}

func rootrefs(f *os.File) ([]rootref, error) {
	var all []rootref
	var args rootrefArgs
	for {
		err := ioctl(f, getSubvolRef, unsafe.Pointer(&args))
		// EOVERFLOW: this page is full, and minTreeid has moved on to the next one.
		more := errors.Is(err, unix.EOVERFLOW)
		if err != nil && !more {
			return nil, fmt.Errorf("list subvolumes in %s: %w", f.Name(), err)
		}
		all = append(all, args.refs[:args.count]...)
		if !more {
			return all, nil
		}
	}
}

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// openBelow opens a directory below root. It fails with EXDEV where another mount covers the way.
func openBelow(root *os.File, dir string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(int(root.Fd()), dir, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path.Join(root.Name(), dir)), nil
		// EAGAIN: something was renamed on the way, and the kernel could not tell whether the path stayed below.
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		default:
			return nil, &os.PathError{Op: "open", Path: path.Join(root.Name(), dir), Err: err}
		}
	}
}

// openSubvolume is openBelow for the top of a subvolume.
func openSubvolume(parent *os.File, name string) (*os.File, error) {
	f, err := openBelow(parent, name)
	if err != nil {
		return nil, err
	}
	if !IsSubvolume(f) {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), ErrNotSubvolume), f.Close())
	}
	return f, nil
}
