package images

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// subvolumeInode is the inode number of the top directory of every subvolume.
const subvolumeInode = 256

// entry is a directory entry and what it leads to.
type entry struct {
	file string // in its directory
	full string // with its directory
	path string // resolved
	stat unix.Statx_t
	// births remembers creation times.
	births *births
}

// stat reads an entry, through symlinks; errNoImage when nothing is there.
func (p *place) stat(file string) (entry, error) {
	full := filepath.Join(p.dir, file)
	e := entry{file: file, full: full, path: full, births: p.births}
	err := statx(int(p.file.Fd()), file, &e.stat)
	if err == nil && e.stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		e.path, err = filepath.EvalSymlinks(e.path)
		if err == nil {
			err = statx(unix.AT_FDCWD, e.path, &e.stat)
		}
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return e, errNoImage
	}
	if err != nil {
		return e, fmt.Errorf("look at %s: %w", full, err)
	}
	return e, nil
}

func statx(dir int, path string, out *unix.Statx_t) error {
	return unix.Statx(dir, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, out)
}

// imageType tells the type from the inode. Only the top of a btrfs subvolume
// has inode number 256 on btrfs, so other directories cost no further call.
func (e entry) imageType() Type {
	switch uint32(e.stat.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		return TypeRaw
	case unix.S_IFBLK:
		return TypeBlock
	}
	if strings.HasSuffix(e.file, suffixMstack) {
		return TypeMstack
	}
	if e.stat.Ino == subvolumeInode && isBtrfs(e.path) {
		return TypeSubvolume
	}
	return TypeDirectory
}

// created is the time of birth: what the file system says, or an earlier time
// that a copy has kept.
func (e entry) created() time.Time { return earlier(birth(&e.stat), e.births.attribute(e)) }

// birth is when an inode was made, zero where the file system does not know.
func birth(st *unix.Statx_t) time.Time {
	if st.Mask&unix.STATX_BTIME == 0 || st.Btime.Sec <= 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}

// earlier is the earlier of two times of which one may be unknown.
func earlier(birth, kept time.Time) time.Time {
	if birth.IsZero() || !kept.IsZero() && kept.Before(birth) {
		return kept
	}
	return birth
}

func (e entry) immutable() bool { return e.stat.Attributes&unix.STATX_ATTR_IMMUTABLE != 0 }

func isBtrfs(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.BTRFS_SUPER_MAGIC
}
