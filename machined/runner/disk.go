package runner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"berth/images/partition"
)

// mountScript mounts a disk and becomes nspawn: $1 options, $2 disk, $3 a
// directory for the mount point, then the command. The directory gets a file
// system in memory of its own, because nspawn puts a lock beside the tree that
// it runs, which else would be the same for all machines.
const mountScript = `set -e
mount -t tmpfs -o mode=0700,nosuid,nodev tmpfs "$3"
mkdir "$3/root"
mount -o "$1" -- "$2" "$3/root"
shift 3
exec "$@"`

// mounted wraps the command so that the disk is mounted by us and nspawn sees a
// directory.
//
// The mount lives in a mount namespace that dies with the last process of the
// machine, and its loop device is set to clear itself, so nothing is left
// behind even when all of them are killed. On the host the mount point stays an
// empty directory. Two machines never have one disk: mount(8) finds the loop
// device of the first, and nspawn refuses a tree on a device that it has locked.
func (n *Nspawn) mounted(argv []string, spec Spec) ([]string, error) {
	unshare, err := n.files.tool("unshare")
	if err != nil {
		return nil, err
	}
	if _, err := n.files.tool("mount"); err != nil {
		return nil, err
	}
	where, err := locateRoot(spec.Disk)
	if err != nil {
		return nil, fmt.Errorf("find root file system of %s: %w", spec.Disk, err)
	}
	if err := os.MkdirAll(n.files.mountAt, 0o700); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	wrapped := []string{
		unshare, "--mount", "--propagation=slave", "--",
		n.files.shell, "-c", mountScript, "sh",
		strings.Join(where.mountOptions(spec.ReadOnly), ","), spec.Disk, n.files.mountAt,
	}
	return append(append(wrapped, argv...), "--directory="+n.files.mountAt+"/root"), nil
}

// rootFS is where on a disk the root file system is.
type rootFS struct {
	partition.Extent
	xfs bool
}

// locateRoot finds the root file system of a disk, see [partition.Root].
func locateRoot(path string) (where rootFS, err error) {
	f, err := os.Open(path)
	if err != nil {
		return rootFS{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return rootFS{}, err
	}
	if where.Extent, err = partition.Root(f, size); err != nil {
		return rootFS{}, err
	}
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], where.Offset); err != nil {
		return rootFS{}, fmt.Errorf("read start of file system: %w", err)
	}
	where.xfs = string(magic[:]) == "XFSB"
	return where, nil
}

func (r rootFS) mountOptions(readOnly bool) []string {
	access := "rw"
	if readOnly {
		access = "ro"
	}
	options := []string{"loop", access, "nodev"}
	if r.xfs {
		// Clones of an image have one and the same UUID, and all may run at once.
		options = append(options, "nouuid")
	}
	if r.Whole {
		return options
	}
	return append(options,
		"offset="+strconv.FormatInt(r.Offset, 10),
		"sizelimit="+strconv.FormatInt(r.Size, 10))
}
