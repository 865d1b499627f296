package tarball

import (
	"strings"

	"golang.org/x/sys/unix"
)

// File flags as of chattr(1), from linux/fs.h. Immutable and append-only are left out on purpose: they would make
// an image that cannot be removed.
const (
	flagSync        = 0x00000008
	flagNoDump      = 0x00000040
	flagNoAtime     = 0x00000080
	flagDirSync     = 0x00010000
	flagNoCOW       = 0x00800000
	flagProjInherit = 0x20000000
)

// fileFlags maps libarchive's names, sorted.
var fileFlags = [...]struct {
	name string
	bit  uint32
}{
	{"dirsync", flagDirSync},
	{"noatime", flagNoAtime},
	{"nocow", flagNoCOW},
	{"nodump", flagNoDump},
	{"projinherit", flagProjInherit},
	{"sync", flagSync},
}

func parseFlags(text string) (bits uint32) {
	for name := range strings.SplitSeq(text, ",") {
		for _, f := range fileFlags {
			if f.name == name {
				bits |= f.bit
			}
		}
	}
	return bits
}

func formatFlags(bits uint32) string {
	if bits == 0 {
		return ""
	}
	var names []string
	for _, f := range fileFlags {
		if bits&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ",")
}

// addFlags sets flags on an open file beside those that it has.
func addFlags(fd int, bits uint32) error {
	old, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	if old&bits == bits {
		return nil
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(old|bits))
}
