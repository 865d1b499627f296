package runner

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// mountEntry is the part of a line of mountinfo (proc_pid_mountinfo(5)) that
// matters here.
type mountEntry struct {
	point, fsType string
	super         []string // options of the file system
}

func parseMount(line string) (mountEntry, bool) {
	before, after, ok := strings.Cut(line, " - ")
	place, kind := strings.Fields(before), strings.Fields(after)
	if !ok || len(place) < 5 || len(kind) < 3 {
		return mountEntry{}, false
	}
	return mountEntry{point: place[4], fsType: kind[0], super: strings.Split(kind[2], ",")}, true
}

// isUnified: cgroup v2, alone or beside v1.
func (m mountEntry) isUnified() bool { return m.fsType == "cgroup2" }

// isNamedHierarchy: the v1 hierarchy without controllers that systemd once kept
// its units in.
func (m mountEntry) isNamedHierarchy() bool {
	return m.fsType == "cgroup" && slices.Contains(m.super, "name=systemd")
}

// findMount returns the mount point of the first entry that is wanted, empty if
// none is.
func findMount(mountinfo string, wanted func(mountEntry) bool) (point string, err error) {
	f, err := os.Open(mountinfo)
	if err != nil {
		return "", fmt.Errorf("look through mounts: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if entry, ok := parseMount(lines.Text()); ok && wanted(entry) {
			return entry.point, nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("look through mounts: %w", err)
	}
	return "", nil
}
