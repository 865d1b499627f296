package diskread

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"berth/images/errand"
	"berth/images/inside"
	"berth/images/partition"
)

// Main is the whole life of the process; the result is its exit status.
func Main() int {
	var paths []string
	if _, err := errand.Receive(&paths); err != nil {
		return errand.Reply(nil, err)
	}
	files, err := read(errand.File(0), paths)
	if errors.Is(err, partition.ErrNoRoot) {
		err = fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return errand.Reply(files, err, ErrUnreadable)
}

func read(disk *os.File, paths []string) (files map[string][]byte, err error) {
	if err := limitResources(); err != nil {
		return nil, err
	}
	size, err := disk.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("find size of disk: %w", err)
	}
	where, err := partition.Find(disk, size)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: it has %d bytes only", ErrUnreadable, size)
	}
	if err != nil {
		return nil, err
	}
	root, err := open(disk, where.Root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.close()) }()
	usr, err := open(disk, where.Usr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, usr.close()) }()
	if err := giveUpPrivileges(); err != nil {
		return nil, err
	}
	files = map[string][]byte{}
	for _, path := range paths {
		// What is missing or planted there is none.
		if data, err := readOf(root, usr, path); err == nil {
			files[path] = data
		}
	}
	return files, nil
}

// readOf reads a file of a system whose /usr may be a file system of its own.
func readOf(root, usr *volume, path string) ([]byte, error) {
	if below, ok := strings.CutPrefix(path, "usr/"); ok && usr != nil {
		return inside.Read(usr.root, below)
	}
	if root == nil {
		return nil, os.ErrNotExist
	}
	return inside.Read(root.root, path)
}

// volume is a file system of the disk.
type volume struct{ loop, root *os.File }

// open mounts a part of the disk; nil if there is no such part.
func open(disk *os.File, where partition.Extent) (_ *volume, err error) {
	if where.Size == 0 {
		return nil, nil
	}
	kind, err := fileSystem(disk, where.Offset)
	if err != nil {
		return nil, err
	}
	loop, err := attach(disk, where)
	if err != nil {
		return nil, err
	}
	root, err := mount(kind, loop.Name())
	if err != nil {
		return nil, errors.Join(err, loop.Close())
	}
	return &volume{loop, root}, nil
}

func (v *volume) close() error {
	if v == nil {
		return nil
	}
	return errors.Join(v.root.Close(), v.loop.Close())
}

// limitResources keeps a process that lost its way from doing so for long.
func limitResources() error {
	for which, value := range map[int]uint64{unix.RLIMIT_NOFILE: 64, unix.RLIMIT_CPU: 20} {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit resources: %w", err)
		}
	}
	return nil
}

// giveUpPrivileges leaves a process that may read what everybody may, and what
// is root's.
func giveUpPrivileges() error {
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := cap.NewSet().SetProc(); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}
