package cgroup2

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// ErrUnavailable means that this host has no cgroup v2 tree, or it cannot be written to.
var ErrUnavailable = errors.New("no writable cgroup2 tree")

// Hierarchy is a mount of the cgroup v2 tree.
type Hierarchy struct {
	Mount string // where it is mounted
	// Root is the cgroup that is seen at Mount, as /proc/PID/cgroup would call
	// it: "/" unless a part of the tree was bind-mounted.
	Root string
}

// Find looks for the cgroup v2 tree in this process's mount table.
func Find() (h Hierarchy, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find cgroup2 tree: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return parseMountinfo(f)
}

// parseMountinfo reads lines as proc_pid_mountinfo(5) describes them. Of
// several mounts the one that shows most of the tree is taken.
func parseMountinfo(r io.Reader) (Hierarchy, error) {
	var found Hierarchy
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		head, tail, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(head)
		if !ok || len(fields) < 6 || !strings.HasPrefix(tail, "cgroup2 ") {
			continue
		}
		h := Hierarchy{Mount: unescape(fields[4]), Root: unescape(fields[3])}
		if found.Mount == "" || len(h.Root) < len(found.Root) {
			found = h
		}
	}
	if err := lines.Err(); err != nil {
		return Hierarchy{}, fmt.Errorf("find cgroup2 tree: %w", err)
	}
	if found.Mount == "" {
		return Hierarchy{}, fmt.Errorf("find cgroup2 tree: %w: none is mounted", ErrUnavailable)
	}
	return found, nil
}

// unescape undoes the escapes that the kernel uses in mount tables.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// dir is the directory of a cgroup; false if it cannot be seen at the mount.
func (h Hierarchy) dir(cgroup string) (string, bool) {
	cgroup = path.Clean("/" + cgroup)
	if h.Root == "/" {
		return path.Join(h.Mount, cgroup), true
	}
	if cgroup == h.Root {
		return h.Mount, true
	}
	rest, ok := strings.CutPrefix(cgroup, h.Root+"/")
	return path.Join(h.Mount, rest), ok
}
