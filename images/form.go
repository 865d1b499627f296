package images

import (
	"strings"

	"golang.org/x/sys/unix"
)

// suffixes of file names that make an image.
const (
	suffixRaw       = ".raw"
	suffixMstack    = ".mstack"
	suffixVersioned = ".v"
)

// form is one way to call the file of an image NAME.
type form struct {
	// infix is the class's, "" where the file name does without.
	infix string
	// suffix is that of the image itself: "", ".raw" or ".mstack".
	suffix string
	// versioned means a directory from which the best entry is picked.
	versioned bool
}

// forms returns all forms in the order in which they win over each other.
func forms(c Class) []form {
	infixes := []string{""}
	if c.infix() != "" {
		infixes = append(infixes, c.infix())
	}
	var out []form
	for _, infix := range infixes {
		for _, versioned := range []bool{false, true} {
			for _, suffix := range []string{"", suffixRaw, suffixMstack} {
				out = append(out, form{infix, suffix, versioned})
			}
		}
	}
	return out
}

// file is the name of the directory entry of the image in this form.
func (f form) file(name string) string {
	file := name + f.infix + f.suffix
	if f.versioned {
		file += suffixVersioned
	}
	return file
}

// name reads the image's name out of a file name; false when the file is not
// called in this form. A file has at most two readings, as "x.raw" may be a raw
// file of the image x or a directory image called x.raw; its kind decides.
func (f form) name(c Class, file string) (string, bool) {
	rest, ok := strings.CutSuffix(file, suffixVersioned)
	if ok != f.versioned {
		return "", false
	}
	if f.suffix == "" {
		if strings.HasSuffix(rest, suffixMstack) || f.versioned && strings.HasSuffix(rest, suffixRaw) {
			return "", false
		}
	} else if rest, ok = strings.CutSuffix(rest, f.suffix); !ok {
		return "", false
	}
	if f.infix != "" {
		rest, ok = strings.CutSuffix(rest, f.infix)
	} else {
		ok = c.infix() == "" || !strings.HasSuffix(rest, c.infix())
	}
	return rest, ok && listable(rest)
}

// allows reports whether an inode of this mode can be the image in this form.
func (f form) allows(mode uint16) bool {
	kind := uint32(mode) & unix.S_IFMT
	switch {
	case f.versioned || f.suffix == suffixMstack:
		return kind == unix.S_IFDIR
	case f.suffix == suffixRaw:
		return kind == unix.S_IFREG
	}
	return kind == unix.S_IFDIR || kind == unix.S_IFBLK
}

// listable tells names of images from what else may lie in an image directory:
// updates under way, the directories in which virtual machines keep state beside
// their image, and what mkfs puts at the top of an ext4.
func listable(name string) bool {
	return ValidName(name) == nil && name != "lost+found" && !strings.HasPrefix(name, ".sysupdate.") &&
		!strings.HasSuffix(name, suffixTPM) && !strings.HasSuffix(name, suffixEFI)
}
