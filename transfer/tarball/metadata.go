package tarball

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"berth/transfer/tarball/pax"

	"golang.org/x/sys/unix"
)

// metadata is what an inode gets beside its content, in the kernel's terms.
type metadata struct {
	uid, gid  int
	mode      uint32
	mtime     unix.Timespec
	access    []byte // ACLs as attribute values, nil for none
	defaults  []byte
	flags     uint32
	xattrs    []pax.Xattr // valid until the next header
	entryName string
}

// metadata checks and converts the header of the current entry.
func (x *extractor) metadata(h *pax.Header) (metadata, error) {
	m := metadata{mode: h.Mode, flags: parseFlags(h.Flags), xattrs: h.Xattrs, entryName: h.Name}
	// The highest id means "leave unchanged" to chown(2).
	if h.UID < 0 || h.UID >= math.MaxUint32 || h.GID < 0 || h.GID >= math.MaxUint32 {
		return m, fmt.Errorf("%w: owner %d:%d", ErrFormat, h.UID, h.GID)
	}
	m.uid, m.gid = x.owner(h.UID), x.owner(h.GID)
	m.mtime = unix.Timespec{Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond())}
	var err error
	if m.access, err = x.acl(h, h.AccessACL, aclAccess); err != nil {
		return m, err
	}
	m.defaults, err = x.acl(h, h.DefaultACL, aclDefault)
	return m, err
}

// owner is the number of a user or group, or of the one that stands for those that there are not.
func (x *extractor) owner(id int64) int {
	if n := int64(x.opts.Users); n > 0 && id >= n {
		return int(n - 2)
	}
	return int(id)
}

// acl takes an ACL from its text, or better from a plain attribute: GNU tar may write both, with names that mean nothing
// here in the text. The kernel checks the attribute's value.
func (x *extractor) acl(h *pax.Header, text, attribute string) ([]byte, error) {
	for _, a := range h.Xattrs {
		if a.Name == attribute {
			return x.knownACL(h, append([]byte{}, a.Value...)), nil
		}
	}
	if text == "" {
		return nil, nil
	}
	value, dropped, err := parseACL(text, h.Mode)
	if dropped > 0 {
		x.opts.Warn(h.Name, fmt.Errorf("drop %d ACL entries without numeric id", dropped))
	}
	if err != nil {
		return nil, err
	}
	return x.knownACL(h, value), nil
}

// knownACL leaves out the entries of an ACL for users that there are not.
func (x *extractor) knownACL(h *pax.Header, value []byte) []byte {
	if x.opts.Users == 0 {
		return value
	}
	value, dropped := dropACLEntries(value, x.opts.Users)
	if dropped > 0 {
		x.opts.Warn(h.Name, fmt.Errorf("drop %d ACL entries for users or groups beyond %d", dropped, x.opts.Users))
	}
	return value
}

// apply gives an open inode its attributes. The order matters: a new owner clears setuid bits and capabilities, user
// attributes need the right to write, and an ACL changes the mode.
func (x *extractor) apply(fd int, m *metadata) error {
	// A look is a tenth of the price of a change, and most files of a system are born with the right owner and mode.
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if int(now.Uid) != m.uid || int(now.Gid) != m.gid {
		if err := unix.Fchown(fd, m.uid, m.gid); err != nil {
			return fmt.Errorf("set owner %d:%d: %w", m.uid, m.gid, err)
		}
	}
	err := x.setXattrs(m, func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) })
	if err != nil {
		return err
	}
	if now.Mode&0o7777 != m.mode {
		if err := unix.Fchmod(fd, m.mode); err != nil {
			return fmt.Errorf("set mode %#o: %w", m.mode, err)
		}
	}
	if err := applyACLs(fd, m); err != nil {
		return err
	}
	if m.flags != 0 {
		if err := addFlags(fd, m.flags); err != nil {
			x.opts.Warn(m.entryName, fmt.Errorf("set file flags %s: %w", formatFlags(m.flags), err))
		}
	}
	if err := setModTime(fd, m.mtime); err != nil {
		return fmt.Errorf("set time of modification: %w", err)
	}
	return nil
}

func applyACLs(fd int, m *metadata) error {
	if m.access != nil {
		if err := unix.Fsetxattr(fd, aclAccess, m.access, 0); err != nil {
			return fmt.Errorf("set ACL: %w", err)
		}
	}
	if m.defaults != nil {
		if err := unix.Fsetxattr(fd, aclDefault, m.defaults, 0); err != nil {
			return fmt.Errorf("set default ACL: %w", err)
		}
	}
	return nil
}

// applyByName is apply for what cannot be opened: symbolic links and special files. The mode is not set here.
func (x *extractor) applyByName(dir int, name string, m *metadata) error {
	path := ""
	err := x.setXattrs(m, func(attribute string, value []byte) error {
		if path == "" {
			path = byName(dir, name)
		}
		return unix.Lsetxattr(path, attribute, value, 0)
	})
	if err != nil {
		return err
	}
	times := modTimes(m.mtime)
	if err := unix.UtimesNanoAt(dir, name, times[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time of modification: %w", err)
	}
	return nil
}

func (x *extractor) setXattrs(m *metadata, set func(name string, value []byte) error) error {
	for _, a := range m.xattrs {
		switch xattrKindOf(a.Name, x.opts.SELinux) {
		case xattrForeign:
			x.opts.Warn(m.entryName, fmt.Errorf("skip extended attribute %q", a.Name))
		case xattrPlain:
			err := set(a.Name, a.Value)
			if errors.Is(err, unix.EPERM) && x.opts.Users > 0 && !strings.HasPrefix(a.Name, "user.") {
				x.opts.Warn(m.entryName, fmt.Errorf("skip extended attribute %q: %w", a.Name, err))
				continue
			}
			if err != nil {
				return fmt.Errorf("set extended attribute %q: %w", a.Name, err)
			}
		}
	}
	return nil
}

// finishLater returns what gives a directory its attributes when it is left. Attributes proper are set at once, so
// that they need not be kept.
func (x *extractor) finishLater(fd int, m metadata) (func(int) error, error) {
	err := x.setXattrs(&m, func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) })
	m.xattrs = nil
	return func(fd int) error { return x.apply(fd, &m) }, err
}

// forgetACLs removes the ACLs of a directory that the archive describes anew.
func forgetACLs(fd int) error {
	for _, name := range []string{aclAccess, aclDefault} {
		err := unix.Fremovexattr(fd, name)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("remove ACL: %w", err)
		}
	}
	return nil
}
