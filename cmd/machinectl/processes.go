package main

import (
	"context"
	"os"
	"path"
	"slices"
	"strings"

	"berth/cmd/internal/machineapi"
)

// processes draws the processes of a machine, "" if they cannot be found: those
// of this host from its control groups, others as their service manager tells.
func (t *tool) processes(ctx context.Context, d daemon, m machineapi.Machine) string {
	if t.Target.Local() {
		return processTree(m)
	}
	c, ok := d.(*machineapi.BusClient)
	if !ok || m.Unit == "" {
		return ""
	}
	list, err := c.UnitProcesses(ctx, m.Unit)
	if err != nil {
		return "" // an old service manager, or a unit that is gone
	}
	var out strings.Builder
	groupOf(list, m.Unit, m.Subgroup).draw(&out, treeIndent, branchesOf(os.Getenv))
	return out.String()
}

// groupOf arranges processes by their control groups, below the one of a unit or
// of its subgroup.
func groupOf(list []machineapi.UnitProcess, unit, subgroup string) *group {
	root := &group{}
	for _, p := range list {
		components := strings.Split(p.Group, "/")
		start := slices.Index(components, unit)
		below := path.Join(components[start+1:]...)
		if subgroup != "" {
			rest, ok := strings.CutPrefix(below+"/", subgroup+"/")
			if !ok {
				continue
			}
			below = strings.TrimSuffix(rest, "/")
		}
		root.child(below).add(int(p.PID), p.Command)
	}
	return root
}
