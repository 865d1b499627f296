package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

// processTree draws the processes of a machine, "" if they cannot be found. It
// looks at the control group of the leader, up to the machine's own.
func processTree(m machineapi.Machine) string {
	if m.Leader == nil || m.Unit == "" {
		return ""
	}
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", m.Leader.PID))
	if err != nil {
		return "" // it has ended
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	dir := groupDir(string(mounts), string(group), m.Unit, m.Subgroup)
	if dir == "" {
		return ""
	}
	var out strings.Builder
	drawGroup(&out, dir, "\t\t  ")
	return out.String()
}

// groupDir is the directory of a unit, or of its subgroup, that a process is in.
func groupDir(mounts, groups, unit, subgroup string) string {
	top := ""
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			top = fields[4]
			break
		}
	}
	for line := range strings.Lines(groups) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok || top == "" {
			continue
		}
		components := strings.Split(path, "/")
		if i := slices.Index(components, unit); i >= 0 {
			return filepath.Join(top, filepath.Join(components[:i+1]...), subgroup)
		}
	}
	return ""
}

// drawGroup draws processes first, then the groups below.
func drawGroup(out *strings.Builder, dir, indent string) {
	pids := processesOf(dir)
	var below []string
	entries, _ := os.ReadDir(dir) // a group that is gone has nothing to draw
	for _, e := range entries {
		if e.IsDir() && populated(filepath.Join(dir, e.Name())) {
			below = append(below, e.Name())
		}
	}
	for i, pid := range pids {
		branch := "├─"
		if i == len(pids)-1 && len(below) == 0 {
			branch = "└─"
		}
		width := len(strconv.Itoa(pids[len(pids)-1]))
		fmt.Fprintf(out, "%s%s%*d %s\n", indent, branch, width, pid, commandLine(pid))
	}
	for i, name := range below {
		branch, next := "├─", "│ "
		if i == len(below)-1 {
			branch, next = "└─", "  "
		}
		fmt.Fprintf(out, "%s%s%s\n", indent, branch, cli.Printable(name))
		drawGroup(out, filepath.Join(dir, name), indent+next)
	}
}

func processesOf(dir string) []int {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil // gone, or with threads only
	}
	var pids []int
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func populated(dir string) bool {
	found := false
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // groups come and go
		}
		if e.IsDir() && len(processesOf(path)) > 0 {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// commandLine is what a process was started with, its name in brackets if it
// has none.
func commandLine(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(text) == 0 {
		return "[" + cli.Printable(processName(pid)) + "]"
	}
	return cli.Printable(string(bytes.ReplaceAll(bytes.TrimRight(text, "\x00"), []byte{0}, []byte{' '})))
}
