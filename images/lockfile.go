package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile is one lock: a whole-file record lock that belongs to the open file
// description. Whoever drops the last lock also removes the file, so a taker
// has to look whether the file it locked still has its name.
type lockFile struct {
	file      *os.File
	exclusive bool
}

func openLock(path string, exclusive bool) (*lockFile, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock: %w", err)
		}
		if err := setLock(f, exclusive); err != nil {
			return nil, errors.Join(busy(f, err), f.Close())
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return nil, errors.Join(fmt.Errorf("look at lock: %w", err), f.Close())
		}
		if st.Nlink > 0 {
			return &lockFile{f, exclusive}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// busy turns a refused lock into ErrBusy with the name of its holder.
func busy(f *os.File, err error) error {
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if who := holder(f); who != "" {
		return fmt.Errorf("%w by %s (%s)", ErrBusy, who, f.Name())
	}
	return fmt.Errorf("%w (%s)", ErrBusy, f.Name())
}

func setLock(f *os.File, exclusive bool) error {
	kind := unix.F_RDLCK
	if exclusive {
		kind = unix.F_WRLCK
	}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: int16(kind), Whence: io.SeekStart})
}

// release removes the file when nobody shares the lock. The path is still that
// of this file, since only a holder of the exclusive lock removes it.
func (l *lockFile) release() error {
	var err error
	if l.exclusive || setLock(l.file, true) == nil {
		if err = os.Remove(l.file.Name()); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, l.file.Close())
}

// sweepLocks removes the lock files beside images whose holders died. It goes
// by the rule for all takers: the file goes only under its exclusive lock.
func sweepLocks(dir *os.File) (removed []string, err error) {
	names, err := fs.Glob(os.DirFS(dir.Name()), tempPrefix+"*.lck")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(dir.Name(), name), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue // gone meanwhile, or no lock file
		}
		l := &lockFile{f, true}
		var st unix.Stat_t
		if setLock(f, true) != nil || unix.Fstat(int(f.Fd()), &st) != nil || st.Nlink == 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
			if err := f.Close(); err != nil {
				return removed, err
			}
			continue
		}
		if err := l.release(); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	return removed, nil
}
