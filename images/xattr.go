package images

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Extended attributes that keep facts about an image across copies.
const (
	xattrCreated   = "user.crtime_usec"
	xattrSourceURL = "user.source_url"
)

// getXattr reads a small attribute of the entry itself, not of what it links to.
func getXattr(path, name string) ([]byte, error) {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, name, buf)
	if err != nil {
		return nil, fmt.Errorf("read attribute %s of %s: %w", name, path, err)
	}
	return buf[:n], nil
}

// readCreated is the creation time that the attribute of an entry itself remembers.
func readCreated(path string) (time.Time, error) {
	value := make([]byte, 9) // one more than there may be
	n, err := unix.Lgetxattr(path, xattrCreated, value)
	if err != nil {
		return time.Time{}, err
	}
	return parseCreated(value[:n]), nil
}

// createdOf is readCreated of an open file, zero if there is none.
func createdOf(f *os.File) time.Time {
	value := make([]byte, 9) // one more than there may be
	n, err := unix.Fgetxattr(int(f.Fd()), xattrCreated, value)
	if err != nil {
		return time.Time{}
	}
	return parseCreated(value[:n])
}

// parseCreated reads microseconds since the epoch.
func parseCreated(value []byte) time.Time {
	if len(value) != 8 {
		return time.Time{}
	}
	usec := binary.LittleEndian.Uint64(value)
	if usec == 0 || usec > 1<<62 {
		return time.Time{}
	}
	return time.UnixMicro(int64(usec))
}

// setCreated remembers a creation time where the file system can.
func setCreated(fd int, created time.Time) error {
	if created.IsZero() {
		return nil
	}
	value := binary.LittleEndian.AppendUint64(nil, uint64(created.UnixMicro()))
	err := unix.Fsetxattr(fd, xattrCreated, value, 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep creation time: %w", err)
	}
	return nil
}

// copyXattrs copies the attributes of the user namespace, which hold where an
// image came from; the others belong to the file system it lies on.
func copyXattrs(dst, src *os.File) error {
	list := make([]byte, 64<<10)
	n, err := unix.Flistxattr(int(src.Fd()), list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		n, err := unix.Fgetxattr(int(src.Fd()), name, value)
		if err != nil {
			return fmt.Errorf("read attribute %s: %w", name, err)
		}
		if err := unix.Fsetxattr(int(dst.Fd()), name, value[:n], 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return nil
}
