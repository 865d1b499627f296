package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/images/inside"
)

// MangleTree puts right a tree that was packed with one directory around it: if
// dir is no OS tree (it has no os-release) and holds nothing but a directory that
// is one, the content of that directory moves up and dir takes on its owner, mode
// and times. It reports whether it did so. For trees that are still pending: an
// error may leave the tree half moved.
func MangleTree(ctx context.Context, dir *os.File) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if isOSTree(dir) {
		return false, nil
	}
	child, err := onlyDirectory(dir)
	if child == nil || err != nil {
		return false, err
	}
	defer child.Close()
	if !isOSTree(child) {
		return false, nil
	}
	if err := moveUp(ctx, dir, child); err != nil {
		return false, fmt.Errorf("move tree up from %s: %w", child.Name(), err)
	}
	return true, nil
}

// isOSTree looks for the file that makes a tree an operating system.
func isOSTree(dir *os.File) bool {
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		if f, err := inside.Open(dir, path); err == nil {
			f.Close()
			return true
		}
	}
	return false
}

// onlyDirectory opens the directory that is all there is in dir, else nil.
func onlyDirectory(dir *os.File) (*os.File, error) {
	list, err := openHere(dir, ".")
	if err != nil {
		return nil, err
	}
	defer list.Close()
	names, err := list.Readdirnames(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read top of tree: %w", err)
	}
	if len(names) != 1 {
		return nil, nil
	}
	child, err := openHere(dir, names[0])
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	return child, err
}

// openHere opens a directory in dir with a file offset of its own.
func openHere(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func moveUp(ctx context.Context, dir, child *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(child.Fd()), &st); err != nil {
		return err
	}
	// Out of the way first: the tree may have an entry of its directory's name.
	hidden, top := tempName("mangle"), int(dir.Fd())
	if err := unix.Renameat2(top, child.Name(), top, hidden, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	names, err := child.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := unix.Renameat2(int(child.Fd()), name, top, name, unix.RENAME_NOREPLACE); err != nil {
			return &os.LinkError{Op: "rename", Old: child.Name() + "/" + name, New: name, Err: err}
		}
	}
	if err := unix.Unlinkat(top, hidden, unix.AT_REMOVEDIR); err != nil {
		return err
	}
	return takeOn(dir, child, &st)
}

// takeOn gives dir the owner, attributes, mode and times that st and child have.
func takeOn(dir, child *os.File, st *unix.Stat_t) error {
	if err := unix.Fchown(int(dir.Fd()), int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := unix.Fchmod(int(dir.Fd()), st.Mode&0o7777); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	if err := copyXattrs(dir, child); err != nil {
		return err
	}
	return setTimes(dir, time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix()))
}
