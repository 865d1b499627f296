package tarball

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"berth/transfer/tarball/pax"

	"golang.org/x/sys/unix"
)

// stat asks for an entry of an open directory, with the mount that it is on.
func stat(dir int, name string) (st unix.Statx_t, err error) {
	err = retry(func() error {
		return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT,
			unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	})
	return st, err
}

// directory packs an open directory, whose entry in its parent is name, and what is in it. full is its name in the
// archive, with a slash at the end.
func (p *packer) directory(parent, dir *os.File, name, full string, st *unix.Statx_t) error {
	h := p.header(full, st)
	if err := p.describe(h, int(parent.Fd()), name, int(dir.Fd())); err != nil {
		return packError(full, err)
	}
	if err := p.archive.WriteHeader(h); err != nil {
		return packError(full, err)
	}
	if st.Mnt_id != p.mount {
		return nil
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return packError(full, fmt.Errorf("list directory: %w", err))
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if err := p.entry(dir, name, full+name); err != nil {
			return err
		}
	}
	return nil
}

func packError(name string, err error) error { return fmt.Errorf("pack %q: %w", name, err) }

// entry packs one entry of an open directory.
func (p *packer) entry(dir *os.File, name, full string) error {
	st, err := stat(int(dir.Fd()), name)
	if errors.Is(err, unix.ENOENT) {
		p.opts.Warn(full, errVanished)
		return nil
	}
	if err != nil {
		return packError(full, fmt.Errorf("stat: %w", err))
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return p.subdirectory(dir, name, full+"/", &st)
	case unix.S_IFSOCK, unix.S_IFIFO:
		p.opts.Warn(full, errSkipped)
		return nil
	}
	if st.Mnt_id != p.mount {
		p.opts.Warn(full, errMount)
		return nil
	}
	err = p.leaf(int(dir.Fd()), name, full, &st)
	if errors.Is(err, errVanished) {
		p.opts.Warn(full, errVanished)
		return nil
	}
	if err != nil {
		return packError(full, err)
	}
	return nil
}

func (p *packer) subdirectory(dir *os.File, name, full string, st *unix.Statx_t) error {
	fd, err := openat(int(dir.Fd()), name, openDirFlags, 0)
	if errors.Is(err, unix.ENOENT) {
		p.opts.Warn(full, errVanished)
		return nil
	}
	if err != nil {
		return packError(full, fmt.Errorf("open directory: %w", err))
	}
	sub := os.NewFile(uintptr(fd), full)
	defer sub.Close() //nolint:errcheck // only read
	return p.directory(dir, sub, name, full, st)
}

// leaf packs what is not a directory.
func (p *packer) leaf(dir int, name, full string, st *unix.Statx_t) error {
	h := p.header(full, st)
	id := inodeID{st.Dev_major, st.Dev_minor, st.Ino}
	if first, ok := p.seen[id]; ok && st.Nlink > 1 {
		h.Type, h.Linkname, h.Size = pax.TypeHardlink, first, 0
		return p.archive.WriteHeader(h)
	}
	var err error
	if h.Type == pax.TypeRegular {
		err = p.file(dir, name, h, st)
	} else {
		err = p.special(dir, name, h)
	}
	if err == nil && st.Nlink > 1 {
		p.seen[id] = full
	}
	return err
}

// special packs a symbolic link or a device node.
func (p *packer) special(dir int, name string, h *pax.Header) (err error) {
	if h.Type == pax.TypeSymlink {
		if h.Linkname, err = readlink(dir, name); err != nil {
			return err
		}
	}
	if err := p.describe(h, dir, name, -1); err != nil {
		return err
	}
	return p.archive.WriteHeader(h)
}

func readlink(dir int, name string) (string, error) {
	var buf [unix.PathMax]byte // no link is longer
	n, err := unix.Readlinkat(dir, name, buf[:])
	if errors.Is(err, unix.ENOENT) {
		return "", errVanished
	}
	if err != nil {
		return "", fmt.Errorf("read link: %w", err)
	}
	return string(buf[:n]), nil
}
