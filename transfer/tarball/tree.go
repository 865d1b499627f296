package tarball

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// tree is the directory that is unpacked into, seen from where the last entry was: the open directories from the root
// to the parent of that entry. Archives list the content of a directory in a row, so most entries find their parent
// open, and memory does not grow with the archive.
//
// A directory gets its final attributes when it is left: until then its content changes its time, its mode might shut
// us out, and its default ACL would be inherited. One that is entered again later is put back as it was.
type tree struct {
	dirs []openDir // never empty while the tree is open; the first is the root
}

type openDir struct {
	name string
	fd   int
	// leave finishes the directory, or is nil if nothing is to be done.
	leave func(fd int) error
}

const openDirFlags = unix.O_RDONLY | unix.O_DIRECTORY

// newDirMode lets nobody else in before the directory has its final attributes.
const newDirMode = 0o700

// open starts at an open directory, of which it takes a descriptor of its own.
func (t *tree) open(dir *os.File) error {
	fd, err := openat(int(dir.Fd()), ".", openDirFlags, 0)
	if err != nil {
		return err
	}
	// Attributes that the new directory inherited would go on to everything in it.
	if _, err := takeDefaultACL(fd); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	t.dirs = []openDir{{name: ".", fd: fd}}
	return nil
}

// close leaves all directories, and finishes them only if everything went well.
func (t *tree) close(finish bool) error {
	if !finish {
		for i := range t.dirs {
			t.dirs[i].leave = nil
		}
	}
	return t.leaveTo(0)
}

func (t *tree) top() int { return t.dirs[len(t.dirs)-1].fd }

// enter goes to the directory of the given path. What is missing on the way is made.
func (t *tree) enter(way []string) error {
	shared := 0
	for shared < len(way) && shared+1 < len(t.dirs) && t.dirs[shared+1].name == way[shared] {
		shared++
	}
	if err := t.leaveTo(shared + 1); err != nil {
		return err
	}
	for _, name := range way[shared:] {
		if err := t.descend(name); err != nil {
			return err
		}
	}
	return nil
}

// leaveTo leaves the deepest directories until n are open.
func (t *tree) leaveTo(n int) error {
	var err error
	for len(t.dirs) > n {
		d := t.dirs[len(t.dirs)-1]
		if d.leave != nil {
			if leaveErr := d.leave(d.fd); leaveErr != nil {
				err = errors.Join(err, fmt.Errorf("finish directory %q: %w", t.path(), leaveErr))
			}
		}
		t.dirs = t.dirs[:len(t.dirs)-1]
		err = errors.Join(err, unix.Close(d.fd))
	}
	return err
}

// path is the name of the deepest open directory.
func (t *tree) path() string {
	full := t.dirs[0].name
	for _, d := range t.dirs[1:] {
		full = path.Join(full, d.name)
	}
	return full
}

// descend enters a directory of the deepest one that an entry's name passes through.
func (t *tree) descend(name string) error {
	fd, err := openat(t.top(), name, openDirFlags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err := unix.Mkdirat(t.top(), name, newDirMode); err != nil {
			return fmt.Errorf("make parent directory %q: %w", name, err)
		}
		if fd, err = openat(t.top(), name, openDirFlags, 0); err == nil {
			t.push(name, fd, nil)
			return nil
		}
	}
	if notDirectory(err) {
		return fmt.Errorf("%w: %q on its way is not a directory: %w", ErrUnsafePath, name, err)
	}
	if err != nil {
		return fmt.Errorf("open parent directory %q: %w", name, err)
	}
	leave, err := restoreLater(fd)
	t.push(name, fd, leave)
	return err
}

// makeDirectory makes a directory in the deepest one, or takes the one that is there, and enters it. What is there
// and is no directory is replaced.
func (t *tree) makeDirectory(name string) (fd int, existed bool, err error) {
	parent := t.top()
	err = unix.Mkdirat(parent, name, newDirMode)
	existed = errors.Is(err, unix.EEXIST)
	if err != nil && !existed {
		return -1, false, fmt.Errorf("make directory: %w", err)
	}
	fd, err = openat(parent, name, openDirFlags, 0)
	if existed && notDirectory(err) {
		if err := unix.Unlinkat(parent, name, 0); err != nil {
			return -1, false, fmt.Errorf("replace: %w", err)
		}
		return t.makeDirectory(name)
	}
	if err != nil {
		return -1, false, fmt.Errorf("open directory: %w", err)
	}
	t.push(name, fd, nil)
	return fd, existed, nil
}

func (t *tree) push(name string, fd int, leave func(int) error) {
	t.dirs = append(t.dirs, openDir{name, fd, leave})
}

// notDirectory tells what an open of a directory that follows no links reports for a link and for other files.
func notDirectory(err error) bool {
	return errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// restoreLater notes what will change in a finished directory when something is made in it.
func restoreLater(fd int) (func(int) error, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat directory: %w", err)
	}
	acl, err := takeDefaultACL(fd)
	if err != nil {
		return nil, err
	}
	return func(fd int) error {
		if acl != nil {
			if err := unix.Fsetxattr(fd, aclDefault, acl, 0); err != nil {
				return fmt.Errorf("set default ACL: %w", err)
			}
		}
		return setModTime(fd, st.Mtim)
	}, nil
}

// takeDefaultACL removes the default ACL of a directory and returns it, nil if there is none.
func takeDefaultACL(fd int) ([]byte, error) {
	acl, err := getXattr(func(buf []byte) (int, error) { return unix.Fgetxattr(fd, aclDefault, buf) })
	if err != nil || acl == nil {
		return nil, err
	}
	if err := unix.Fremovexattr(fd, aclDefault); err != nil {
		return nil, fmt.Errorf("remove default ACL: %w", err)
	}
	return acl, nil
}
