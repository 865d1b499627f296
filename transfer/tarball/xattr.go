package tarball

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// getXattr reads an attribute by a call that follows getxattr(2). It is nil where the file has none or cannot have any.
func getXattr(get func(buf []byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(nil)
		if err == nil && n == 0 {
			return []byte{}, nil
		}
		var buf []byte
		if err == nil {
			buf = make([]byte, n)
			n, err = get(buf)
		}
		switch {
		case err == nil:
			return buf[:n], nil
		case errors.Is(err, unix.ERANGE): // it grew between the two calls
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
			return nil, nil
		default:
			return nil, fmt.Errorf("get extended attribute: %w", err)
		}
	}
}

// How an attribute is treated, by its name.
type xattrKind int

const (
	xattrPlain   xattrKind = iota
	xattrACL               // has a form of its own in archives
	xattrIgnored           // security.selinux where nobody asked for it
	xattrForeign           // a namespace whose meaning depends on the file system
)

func xattrKindOf(name string, selinux bool) xattrKind {
	switch {
	case name == aclAccess || name == aclDefault:
		return xattrACL
	case name == "security.selinux" && !selinux:
		return xattrIgnored
	case strings.HasPrefix(name, "user."), strings.HasPrefix(name, "trusted."), strings.HasPrefix(name, "security."):
		return xattrPlain
	default:
		return xattrForeign
	}
}

// byName is a path to an entry of an open directory for calls that take no descriptor of the directory. The kernel
// resolves it through the descriptor, so no other component of the path can be swapped.
func byName(dir int, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
}
