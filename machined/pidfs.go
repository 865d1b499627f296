package machined

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pidfdID returns the inode number that tells the process from every other of
// this boot, or 0 where pidfds are anonymous inodes (kernels before 6.9).
func pidfdID(pidfd *os.File) (uint64, error) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	err := withFD(pidfd, func(fd int) error {
		return errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs))
	})
	if err != nil {
		return 0, fmt.Errorf("stat pidfd: %w", err)
	}
	if fs.Type != unix.PID_FS_MAGIC {
		return 0, nil
	}
	return st.Ino, nil
}

// pidOfPIDFD returns the PID in our PID namespace of the process behind pidfd.
func pidOfPIDFD(pidfd *os.File) (int, error) {
	var text []byte
	err := withFD(pidfd, func(fd int) (err error) {
		text, err = os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read pidfd: %w", err)
	}
	for line := range bytes.Lines(text) {
		value, ok := bytes.CutPrefix(line, []byte("Pid:"))
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		if err != nil {
			return 0, fmt.Errorf("read pidfd: %w", err)
		}
		if pid <= 0 { // -1: it has ended; 0: it is not in our PID namespace
			return 0, fmt.Errorf("read pidfd: %w", ErrNoSuchProcess)
		}
		return pid, nil
	}
	return 0, fmt.Errorf("read pidfd: %w: it refers to no process", ErrInvalidArgument)
}
