package images

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// versionEntry is a file in a ".v" directory, called
// NAME_VERSION[_ARCH][+LEFT[-DONE]]SUFFIX.
type versionEntry struct {
	file, version, arch string
	// left is the number of tries that remain, -1 when they are not counted.
	left, done int
}

// pick chooses the best entry of a versioned directory. It is the only image
// that the directory shows; removing it uncovers the next.
func (p *place) pick(c candidate, dir entry) (_ Image, err error) {
	file, err := os.OpenFile(dir.path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return Image{}, fmt.Errorf("open versioned image: %w", err)
	}
	defer file.Close()
	files, err := file.Readdirnames(-1)
	if err != nil {
		return Image{}, fmt.Errorf("read versioned image: %w", err)
	}
	inner := &place{class: p.class, dir: dir.path, file: file, vendor: p.vendor, births: p.births, mounts: p.mounts}
	for _, v := range sortVersions(c.name, c.form, files) {
		e, err := inner.stat(v.file)
		if err != nil || !c.form.allowsVersion(e.stat.Mode) {
			continue
		}
		img, err := inner.image(c.name, e)
		img.Versioned = true
		return img, err
	}
	return Image{}, errNoImage
}

// allowsVersion is what allows is to an entry of the ".v" directory, where a
// device may stand in for a raw file.
func (f form) allowsVersion(mode uint16) bool {
	f.versioned = false
	return f.allows(mode) || f.suffix == suffixRaw && uint32(mode)&unix.S_IFMT == unix.S_IFBLK
}

// sortVersions returns the entries that run on this machine, the best first.
func sortVersions(name string, f form, files []string) []versionEntry {
	var out []versionEntry
	for _, file := range files {
		if v, ok := parseVersionEntry(name, f, file); ok && (v.arch == "" || slices.Contains(architectures(), v.arch)) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b versionEntry) int { return -a.compare(b) })
	return out
}

// compare is positive when v is the better choice.
func (v versionEntry) compare(o versionEntry) int {
	return cmp.Or(
		-compareBool(v.left == 0, o.left == 0),
		compareVersions(v.version, o.version),
		compareBool(v.native(), o.native()),
		cmp.Compare(v.tries(), o.tries()),
		cmp.Compare(o.done, v.done),
		cmp.Compare(v.file, o.file),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// native prefers an entry made for this architecture to one for any.
func (v versionEntry) native() bool { return v.arch != "" && v.arch == architectures()[0] }

// tries counts an entry whose tries are not counted as better than any other.
func (v versionEntry) tries() uint64 { return uint64(int64(v.left)) }

var triesPattern = regexp.MustCompile(`\+([0-9]{1,9})(?:-([0-9]{1,9}))?$`)

func parseVersionEntry(name string, f form, file string) (versionEntry, bool) {
	v := versionEntry{file: file, left: -1}
	rest, ok := strings.CutPrefix(file, name+f.infix+"_")
	if !ok {
		rest, ok = strings.CutPrefix(file, name+"_")
	}
	if !ok {
		return v, false
	}
	if rest, ok = strings.CutSuffix(rest, f.suffix); !ok {
		return v, false
	}
	if m := triesPattern.FindStringSubmatch(rest); m != nil {
		rest = rest[:len(rest)-len(m[0])]
		v.left, _ = strconv.Atoi(m[1])
		v.done, _ = strconv.Atoi(m[2])
	}
	if i := strings.LastIndexByte(rest, '_'); i >= 0 && slices.Contains(knownArchitectures(), rest[i+1:]) {
		rest, v.arch = rest[:i], rest[i+1:]
	}
	v.version = rest
	return v, rest != "" && ValidName(file) == nil
}

// architectures returns the names of what this machine runs, the native first.
func architectures() []string {
	switch runtime.GOARCH {
	case "amd64":
		return []string{"x86-64", "x86"}
	case "arm64":
		return []string{"arm64", "arm"}
	case "386":
		return []string{"x86"}
	case "ppc64le":
		return []string{"ppc64-le"}
	}
	return []string{runtime.GOARCH}
}

// knownArchitectures are the names that the image formats of the UAPI group use.
func knownArchitectures() []string {
	return []string{
		"x86", "x86-64", "arm", "arm64", "arm-be", "arm64-be", "ppc", "ppc64", "ppc-le", "ppc64-le", "s390", "s390x",
		"riscv32", "riscv64", "loongarch64", "mips", "mips64", "mips-le", "mips64-le", "ia64", "alpha", "parisc",
		"parisc64", "sparc", "sparc64", "m68k", "tilegx", "sh", "sh64", "cris", "nios2", "arc", "arc-be",
	}
}
