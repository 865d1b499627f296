package tarball

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"berth/transfer/tarball/pax"

	"golang.org/x/sys/unix"
)

// root takes the attributes of the tree's root.
func (x *extractor) root(m metadata) error {
	if err := x.tree.leaveTo(1); err != nil {
		return err
	}
	m.mode |= x.opts.RootMode
	return x.describe(&x.tree.dirs[0], m, true)
}

func (x *extractor) directory(name string, m metadata) error {
	_, existed, err := x.tree.makeDirectory(name)
	if err != nil {
		return err
	}
	return x.describe(&x.tree.dirs[len(x.tree.dirs)-1], m, existed)
}

// describe sets what an open directory gets when it is left.
func (x *extractor) describe(d *openDir, m metadata, existed bool) (err error) {
	if existed {
		if err := forgetACLs(d.fd); err != nil {
			return err
		}
	}
	d.leave, err = x.finishLater(d.fd, m)
	return err
}

func (x *extractor) regular(name string, h *pax.Header, m metadata) (err error) {
	// The owner's rights are needed until the file is complete; setuid bits have to come after the owner.
	fd, err := x.createFile(name, m.mode&0o777|0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := unix.Close(fd); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("close: %w", closeErr))
		}
	}()
	if m.flags&flagNoCOW != 0 {
		// Takes effect only on an empty file. Whether it did is reported by apply.
		_ = addFlags(fd, flagNoCOW)
	}
	if err := x.copyContent(fd, h); err != nil {
		return err
	}
	if err := x.apply(fd, &m); err != nil {
		return err
	}
	startWriteback(fd, h.Size)
	return nil
}

// writebackSize is from where on a file is not better off written to the disk together with its neighbours.
const writebackSize = 64 << 10

// startWriteback has the kernel begin to write a file of such a size to the disk, so that the sync of the whole tree
// finds less left to do. Whether it does is of no matter before that sync.
func startWriteback(fd int, size int64) {
	if size >= writebackSize {
		_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
}

// createFile makes a new regular file, in place of what has the name.
func (x *extractor) createFile(name string, mode uint32) (fd int, err error) {
	dir := x.tree.top()
	err = replacing(dir, name, func() error {
		fd, err = openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("create file: %w", err)
	}
	return fd, nil
}

// copyContent writes the payload of the current entry. Holes are left out.
func (x *extractor) copyContent(fd int, h *pax.Header) error {
	var end int64
	for {
		data, offset, err := x.archive.Chunk()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := pwriteAll(fd, data, offset); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		end = offset + int64(len(data))
	}
	if end == h.Size {
		return nil
	}
	if err := retry(func() error { return unix.Ftruncate(fd, h.Size) }); err != nil {
		return fmt.Errorf("set size %d: %w", h.Size, err)
	}
	return nil
}

func (x *extractor) symlink(name string, h *pax.Header, m metadata) error {
	dir := x.tree.top()
	err := replacing(dir, name, func() error { return unix.Symlinkat(h.Linkname, dir, name) })
	if err != nil {
		return fmt.Errorf("make symbolic link: %w", err)
	}
	if err := chownByName(dir, name, &m); err != nil {
		return err
	}
	return x.applyByName(dir, name, &m)
}

// node makes a device node, a FIFO or a socket.
func (x *extractor) node(name string, h *pax.Header, m metadata) error {
	kind := map[pax.Type]uint32{
		pax.TypeChar: unix.S_IFCHR, pax.TypeBlock: unix.S_IFBLK, pax.TypeFIFO: unix.S_IFIFO, pax.TypeSocket: unix.S_IFSOCK,
	}[h.Type]
	isDevice := h.Type == pax.TypeChar || h.Type == pax.TypeBlock
	var device uint64
	if isDevice {
		// The kernel has 12 bits for the major and 20 for the minor number.
		if h.Major>>12 != 0 || h.Minor>>20 != 0 {
			return fmt.Errorf("%w: device number %d:%d", ErrFormat, h.Major, h.Minor)
		}
		device = unix.Mkdev(uint32(h.Major), uint32(h.Minor))
	}
	dir := x.tree.top()
	err := replacing(dir, name, func() error { return unix.Mknodat(dir, name, kind|0o600, int(device)) })
	if errors.Is(err, unix.EPERM) && x.opts.Users > 0 && isDevice {
		x.leaveOut(h, fmt.Errorf("leave out the device node: %w", err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("make device node, FIFO or socket: %w", err)
	}
	if err := chownByName(dir, name, &m); err != nil {
		return err
	}
	if err := chmodByName(dir, name, m.mode); err != nil {
		return fmt.Errorf("set mode %#o: %w", m.mode, err)
	}
	if m.access != nil {
		if err := unix.Lsetxattr(byName(dir, name), aclAccess, m.access, 0); err != nil {
			return fmt.Errorf("set ACL: %w", err)
		}
	}
	return x.applyByName(dir, name, &m)
}

// maxLeftOut bounds how many paths are remembered. More device nodes than that are in
// no system, and hard links to them are an error.
const maxLeftOut = 4096

// leaveOut warns that the current entry is left out.
func (x *extractor) leaveOut(h *pax.Header, why error) {
	x.opts.Warn(h.Name, why)
	if x.leftOut == nil {
		x.leftOut = map[string]bool{}
	}
	if len(x.leftOut) < maxLeftOut {
		x.leftOut[strings.Join(x.path, "/")] = true
	}
}

func chownByName(dir int, name string, m *metadata) error {
	if err := unix.Fchownat(dir, name, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set owner %d:%d: %w", m.uid, m.gid, err)
	}
	return nil
}

// chmodByName changes the mode of something that is not a symbolic link and must not have become one. Kernels before 6.6
// cannot say so in the call; there the file is pinned first.
func chmodByName(dir int, name string, mode uint32) error {
	err := unix.Fchmodat(dir, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	fd, err := openat(dir, name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode), unix.Close(fd))
}

// hardlink gives an earlier entry one more name.
func (x *extractor) hardlink(name string, h *pax.Header) error {
	target, err := splitPath(nil, h.Linkname, false)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	if len(target) == 0 {
		return fmt.Errorf("hard link to %q: %w: the root of the tree", h.Linkname, ErrUnsafePath)
	}
	dir, err := x.tree.lookup(target[:len(target)-1])
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	err = linkReplacing(dir, target[len(target)-1], x.tree.top(), name)
	if errors.Is(err, unix.ENOENT) && x.leftOut[strings.Join(target, "/")] {
		x.leaveOut(h, fmt.Errorf("leave out the hard link to %q, which was left out", h.Linkname))
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	return errors.Join(err, unix.Close(dir))
}

// lookup opens a directory of the tree without making or noting anything. The descriptor is the caller's.
func (t *tree) lookup(path []string) (int, error) {
	fd, err := openat(t.dirs[0].fd, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	for _, name := range path {
		if err != nil {
			break
		}
		parent := fd
		fd, err = openat(parent, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		if notDirectory(err) {
			err = fmt.Errorf("%w: %q on its way is not a directory: %w", ErrUnsafePath, name, err)
		}
		_ = unix.Close(parent) // holds nothing that could be lost
	}
	return fd, err
}

// linkReplacing links without following, in place of what has the name unless that is the target itself.
func linkReplacing(fromDir int, from string, dir int, name string) error {
	var st, old unix.Stat_t
	if err := unix.Fstatat(fromDir, from, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Errorf("%w: a directory", ErrUnsafePath)
	}
	err := unix.Linkat(fromDir, from, dir, name, 0)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := unix.Fstatat(dir, name, &old, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if old.Dev == st.Dev && old.Ino == st.Ino {
		return nil
	}
	return replacing(dir, name, func() error { return unix.Linkat(fromDir, from, dir, name, 0) })
}

// replacing runs a call that makes an entry, and runs it again with the name cleared if that is taken. A directory
// is cleared only if it is empty.
func replacing(dir int, name string, create func() error) error {
	err := create()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	err = unix.Unlinkat(dir, name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
	if err != nil {
		return fmt.Errorf("replace what has its name: %w", err)
	}
	return create()
}
