package tarball

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/transfer/tarball/pax"

	"golang.org/x/sys/unix"
)

// header takes what statx says.
func (p *packer) header(full string, st *unix.Statx_t) *pax.Header {
	h := &pax.Header{
		Name:    full,
		Mode:    uint32(st.Mode) & 0o7777,
		UID:     int64(st.Uid),
		GID:     int64(st.Gid),
		ModTime: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Type = pax.TypeDirectory
	case unix.S_IFLNK:
		h.Type = pax.TypeSymlink
	case unix.S_IFCHR:
		h.Type = pax.TypeChar
	case unix.S_IFBLK:
		h.Type = pax.TypeBlock
	default:
		h.Type, h.Size = pax.TypeRegular, int64(st.Size)
	}
	if h.Type == pax.TypeChar || h.Type == pax.TypeBlock {
		h.Major, h.Minor = int64(st.Rdev_major), int64(st.Rdev_minor)
	}
	return h
}

// describe adds attributes, ACLs and flags of an entry. fd is the open file, or -1 for what cannot be opened.
func (p *packer) describe(h *pax.Header, dir int, name string, fd int) error {
	list := func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) }
	get := func(attribute string) func([]byte) (int, error) {
		return func(buf []byte) (int, error) { return unix.Fgetxattr(fd, attribute, buf) }
	}
	if fd < 0 {
		path := byName(dir, name)
		list = func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) }
		get = func(attribute string) func([]byte) (int, error) {
			return func(buf []byte) (int, error) { return unix.Lgetxattr(path, attribute, buf) }
		}
	} else if bits, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil {
		// A file system without flags has none to pack.
		h.Flags = formatFlags(bits)
	}
	names, err := getXattr(list)
	if errors.Is(err, unix.ENOENT) {
		return errVanished
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	for _, attribute := range bytes.Split(bytes.TrimSuffix(names, []byte{0}), []byte{0}) {
		if len(attribute) == 0 {
			continue
		}
		value, err := getXattr(get(string(attribute)))
		if err != nil {
			return fmt.Errorf("%q: %w", attribute, err)
		}
		if err := p.attribute(h, string(attribute), value); err != nil {
			return err
		}
	}
	slices.SortFunc(h.Xattrs, func(a, b pax.Xattr) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return nil
}

// attribute puts one extended attribute where it belongs. A nil value means that it went away.
func (p *packer) attribute(h *pax.Header, name string, value []byte) (err error) {
	if value == nil {
		return nil
	}
	switch xattrKindOf(name, p.opts.SELinux) {
	case xattrPlain:
		h.Xattrs = append(h.Xattrs, pax.Xattr{Name: name, Value: value})
	case xattrForeign:
		p.opts.Warn(h.Name, fmt.Errorf("skip extended attribute %q", name))
	case xattrACL:
		var text string
		if text, err = formatACL(value); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if name == aclAccess {
			h.AccessACL = text
		} else {
			h.DefaultACL = text
		}
	}
	return nil
}
