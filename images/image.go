package images

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Unknown is the value of a size or limit that cannot be told.
const Unknown uint64 = math.MaxUint64

// HostName is the name of the image that stands for the host's own tree.
const HostName = ".host"

// Class says what an image is for; each class has directories of its own.
type Class string

// The classes of images.
const (
	ClassMachine  Class = "machine"
	ClassPortable Class = "portable"
	ClassSysext   Class = "sysext"
	ClassConfext  Class = "confext"
)

// Classes returns all classes in the order of listings.
func Classes() []Class {
	return []Class{ClassMachine, ClassPortable, ClassSysext, ClassConfext}
}

// ParseClass returns the class with the given name.
func ParseClass(s string) (Class, error) {
	if c := Class(s); slices.Contains(Classes(), c) {
		return c, nil
	}
	return "", fmt.Errorf("unknown image class %q", s)
}

// infix is what file names of the class may carry before the type's suffix,
// as in "foo.sysext.raw".
func (c Class) infix() string {
	if c == ClassSysext || c == ClassConfext {
		return "." + string(c)
	}
	return ""
}

// Type says how an image is kept on disk.
type Type string

// The types of images.
const (
	TypeDirectory Type = "directory"
	TypeSubvolume Type = "subvolume"
	TypeRaw       Type = "raw"
	TypeBlock     Type = "block"
	TypeMstack    Type = "mstack"
)

// Image is what was found on disk at one moment. It is a value: it does not
// follow later changes.
type Image struct {
	Name  string
	Class Class
	Type  Type
	// Path is where the data is, with every symlink resolved.
	Path string
	// Entry is the directory entry that makes the image: Path, or the symlink
	// that leads there. Of a versioned image it is the entry that was picked.
	Entry string
	// Versioned is set for an image picked out of a ".v" directory.
	Versioned bool
	ReadOnly  bool
	// Created and Modified are zero when the type has no such time.
	Created, Modified time.Time
	// Sizes are in bytes, [Unknown] where the file system does not tell.
	Usage, UsageExclusive, Limit, LimitExclusive uint64

	vendor bool
}

// Hidden reports whether listings show the image only on demand.
func (i Image) Hidden() bool { return strings.HasPrefix(i.Name, ".") }

// Host reports whether the image is the host's own tree.
func (i Image) Host() bool { return i.Name == HostName || i.Path == "/" }

// Vendor reports whether the image belongs to the operating system of the host,
// that is, lies below /usr; such images are never changed.
func (i Image) Vendor() bool { return i.vendor || strings.HasPrefix(i.Path, "/usr/") }

// linked reports whether the image is reached by a symlink of its own.
func (i Image) linked() bool { return i.entry() != i.Path }

// entry is Entry, or Path in an image that was not made by this package.
func (i Image) entry() string {
	if i.Entry != "" {
		return i.Entry
	}
	return i.Path
}
