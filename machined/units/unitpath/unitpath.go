// Package unitpath tells the unit of a process by the cgroup that it is in, as
// the service manager lays out its tree: slices, then a unit, then whatever the
// unit makes below.
package unitpath

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/machined"
)

// Cgroups returns the paths of a process in the version 2 tree and in the
// service manager's tree of hybrid hosts; "" where it is in none.
// [machined.ErrNoSuchProcess].
func Cgroups(pid int) (unified, named string, err error) {
	text, err := readAll(fmt.Sprintf("/proc/%d/cgroup", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		err = machined.ErrNoSuchProcess
	}
	if err != nil {
		return "", "", fmt.Errorf("find cgroup of process %d: %w", pid, err)
	}
	unified, named = parseProcCgroup(string(text))
	return unified, named, nil
}

// readAll reads a file of the kernel, once for each registration and look-up. Package
// os would make twice as many system calls, to find out that it cannot be polled.
func readAll(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	text := make([]byte, 0, 4096)
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return text, nil
		}
		text = slices.Grow(text[:len(text)+n], 1024)
	}
}

// parseProcCgroup reads what cgroups(7) describes: ID:CONTROLLERS:PATH.
func parseProcCgroup(text string) (unified, named string) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(fields) != 3:
		case fields[0] == "0" && fields[1] == "":
			unified = fields[2]
		case fields[1] == "name=systemd":
			named = fields[2]
		}
	}
	return unified, named
}

// Split finds the unit in a cgroup path: the first component that is no
// slice, if it has the name of a unit.
func Split(cgroup string) (machined.Unit, bool) {
	rest := strings.TrimPrefix(cgroup, "/")
	above := "/"
	for rest != "" {
		first, below, _ := strings.Cut(rest, "/")
		name := UnitName(first)
		if !IsUnit(name) {
			return machined.Unit{}, false
		}
		above = path.Join(above, first)
		if !strings.HasSuffix(name, ".slice") {
			return machined.Unit{Name: name, Subgroup: below, Cgroup: above}, true
		}
		rest = below
	}
	return machined.Unit{}, false
}

// UnitName is the name of the unit whose cgroup is called dir: a leading
// underscore keeps names apart from files of the kernel.
func UnitName(dir string) string { return strings.TrimPrefix(dir, "_") }

// IsUnit reports whether s can be the name of a unit that holds processes, or of
// a slice.
func IsUnit(name string) bool {
	if len(name) > 255 {
		return false
	}
	switch suffix := path.Ext(name); suffix {
	case ".slice", ".scope", ".service", ".socket", ".mount", ".swap":
		return len(name) > len(suffix)
	}
	return false
}
