package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

// treeIndent is where the processes of a machine stand.
const treeIndent = "\t\t  "

// process is a process of a group.
type process struct {
	pid     int
	command string
}

// group is a control group.
type group struct {
	name      string
	processes []process
	below     []*group
}

// child returns the group at a path below, made if it is not there.
func (g *group) child(path string) *group {
	if path == "" {
		return g
	}
	name, rest, _ := strings.Cut(path, "/")
	for _, b := range g.below {
		if b.name == name {
			return b.child(rest)
		}
	}
	made := &group{name: name}
	g.below = append(g.below, made)
	return made.child(rest)
}

func (g *group) add(pid int, command string) {
	g.processes = append(g.processes, process{pid, command})
}

// branches are what a tree is drawn with.
type branches struct{ middle, last, beside string }

// branchesOf are for the locale of an environment: where that says that it has no
// UTF-8 they are ASCII. Scripts that set LC_ALL=C look for these.
func branchesOf(getenv func(string) string) branches {
	locale := cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG"), "C.UTF-8")
	if name := strings.ToUpper(locale); strings.Contains(name, "UTF-8") || strings.Contains(name, "UTF8") {
		return branches{"├─", "└─", "│ "}
	}
	return branches{"|-", "`-", "| "}
}

// draw draws processes first, then the groups below.
func (g *group) draw(out *strings.Builder, indent string, with branches) {
	slices.SortFunc(g.processes, func(a, b process) int { return cmp.Compare(a.pid, b.pid) })
	for i, p := range g.processes {
		branch := with.middle
		if i == len(g.processes)-1 && len(g.below) == 0 {
			branch = with.last
		}
		width := len(strconv.Itoa(g.processes[len(g.processes)-1].pid))
		fmt.Fprintf(out, "%s%s%*d %s\n", indent, branch, width, p.pid, cli.Printable(p.command))
	}
	slices.SortFunc(g.below, func(a, b *group) int { return cmp.Compare(a.name, b.name) })
	for i, b := range g.below {
		branch, next := with.middle, with.beside
		if i == len(g.below)-1 {
			branch, next = with.last, "  "
		}
		fmt.Fprintf(out, "%s%s%s\n", indent, branch, cli.Printable(b.name))
		b.draw(out, indent+next, with)
	}
}

// processTree draws the processes of a machine of this host, "" if they cannot be
// found. It looks at the control group of the leader, up to the machine's own.
func processTree(m machineapi.Machine) string {
	if m.Leader == nil || m.Unit == "" {
		return ""
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", m.Leader.PID))
	if err != nil {
		return "" // it has ended
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	dir := groupDir(string(mounts), string(groups), m.Unit, m.Subgroup)
	if dir == "" {
		return ""
	}
	var out strings.Builder
	if g := readGroup(dir); g != nil {
		g.draw(&out, treeIndent, branchesOf(os.Getenv))
	}
	return out.String()
}

// rootUnit is the unit of the whole host.
const rootUnit = "-.slice"

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
		if unit == rootUnit {
			return filepath.Join(top, strings.TrimSuffix(path, "/init.scope"))
		}
		components := strings.Split(path, "/")
		if i := slices.Index(components, unit); i >= 0 {
			return filepath.Join(top, filepath.Join(components[:i+1]...), subgroup)
		}
	}
	return ""
}

// readGroup returns a group with all that is in it, nil if there is nothing.
func readGroup(dir string) *group {
	g := &group{name: filepath.Base(dir)}
	for _, pid := range processesOf(dir) {
		g.add(pid, commandLine(pid))
	}
	entries, _ := os.ReadDir(dir) // a group that is gone has nothing in it
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if b := readGroup(filepath.Join(dir, e.Name())); b != nil {
			g.below = append(g.below, b)
		}
	}
	if len(g.processes)+len(g.below) == 0 {
		return nil
	}
	return g
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
	return pids
}

// commandLine is what a process was started with, quoted where a shell would
// want it, or its name in brackets if that is not known.
func commandLine(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(text) == 0 {
		return "[" + processName(pid) + "]"
	}
	var words []string
	for word := range bytes.SplitSeq(bytes.TrimRight(text, "\x00"), []byte{0}) {
		words = append(words, quoted(string(word)))
	}
	return strings.Join(words, " ")
}

func quoted(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\n\"\\`$'()<>|&;!?*[]{}#") {
		return word
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "`", "\\`", "$", `\$`).Replace(word) + `"`
}
