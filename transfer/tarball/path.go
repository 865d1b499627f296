package tarball

import (
	"fmt"
	"strings"
)

// MaxDepth is the number of components that a name may have. It bounds the descriptors that are open at once.
const MaxDepth = 128

// maxName is the length of a whole name in bytes, as PATH_MAX.
const maxName = 4096

// splitPath appends the components of an entry's name to buf. None stand for the root of the tree. One "./" at the
// front is allowed, and one slash at the end if the entry is a directory; apart from that the name has to be plain.
func splitPath(buf []string, name string, directory bool) ([]string, error) {
	switch {
	case name == "":
		return nil, fmt.Errorf("%w: empty name", ErrUnsafePath)
	case len(name) > maxName:
		return nil, fmt.Errorf("%w: name of %d bytes", ErrUnsafePath, len(name))
	case name[0] == '/':
		return nil, fmt.Errorf("%w: absolute", ErrUnsafePath)
	case strings.IndexByte(name, 0) >= 0:
		return nil, fmt.Errorf("%w: NUL byte in name", ErrUnsafePath)
	case name == ".":
		return buf, nil
	}
	rest := strings.TrimPrefix(name, "./")
	if rest == "" {
		return buf, nil
	}
	if directory {
		rest = strings.TrimSuffix(rest, "/")
	}
	for more := true; more; {
		var component string
		component, rest, more = strings.Cut(rest, "/")
		switch component {
		case "":
			return nil, fmt.Errorf("%w: empty component", ErrUnsafePath)
		case ".", "..":
			return nil, fmt.Errorf("%w: component %q", ErrUnsafePath, component)
		}
		if len(buf) == MaxDepth {
			return nil, fmt.Errorf("%w: more than %d", ErrTooDeep, MaxDepth)
		}
		buf = append(buf, component)
	}
	return buf, nil
}
