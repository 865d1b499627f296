package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lock is a set of held locks on an image or a name.
type Lock struct {
	files []*lockFile
}

// LockImage takes the locks on an image that systemd-nspawn takes while it runs
// it: exclusive to change it, shared to only read. It never waits: the error
// wraps [ErrBusy] and says who holds the lock as far as that can be told.
func (s *Store) LockImage(img Image, exclusive bool) (*Lock, error) {
	if s.places.NoPathLocks || s.places.Locks == "" {
		return &Lock{}, nil
	}
	if img.Path == "/" {
		if exclusive {
			return nil, fmt.Errorf("lock image %s: %w: it is the host's own tree", img.Name, ErrBusy)
		}
		return &Lock{}, nil
	}
	l := &Lock{}
	if err := s.lockPath(l, img.Path, exclusive); err != nil {
		return nil, errors.Join(fmt.Errorf("lock image %s: %w", img.Name, err), l.Release())
	}
	return l, nil
}

// lockPath takes two locks: one that all names of the inode share, and one
// beside the image that also hosts which share the disk would see.
func (s *Store) lockPath(l *Lock, path string, exclusive bool) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return err
	}
	global := fmt.Sprintf("inode-%d:%d", st.Dev, st.Ino)
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		global = fmt.Sprintf("block-%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if err := s.lockGlobal(l, global, exclusive); err != nil {
		return err
	}
	if underDev(path) {
		return nil
	}
	err := l.take(filepath.Join(filepath.Dir(path), tempPrefix+filepath.Base(path)+".lck"), exclusive)
	if errors.Is(err, unix.EROFS) && !exclusive || errors.Is(err, unix.ENAMETOOLONG) {
		return nil
	}
	return err
}

// LockName keeps others from making an image of that name; see [Store.LockImage].
func (s *Store) LockName(name string) (*Lock, error) {
	if err := ValidName(name); err != nil {
		return nil, err
	}
	if name == HostName {
		return nil, fmt.Errorf("lock name %s: %w: it is the host's", name, ErrBusy)
	}
	l := &Lock{}
	if s.places.Locks == "" {
		return l, nil
	}
	if err := s.lockGlobal(l, "name-"+name, true); err != nil {
		return nil, fmt.Errorf("lock name %s: %w", name, err)
	}
	return l, nil
}

func (s *Store) lockGlobal(l *Lock, file string, exclusive bool) error {
	if err := os.MkdirAll(s.places.Locks, 0o700); err != nil {
		return fmt.Errorf("make lock directory: %w", err)
	}
	return l.take(filepath.Join(s.places.Locks, file), exclusive)
}

func (l *Lock) take(path string, exclusive bool) error {
	f, err := openLock(path, exclusive)
	if err != nil {
		return err
	}
	l.files = append(l.files, f)
	return nil
}

// Release drops the locks. It does nothing the second time.
func (l *Lock) Release() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.release())
	}
	l.files = nil
	return errors.Join(errs...)
}
