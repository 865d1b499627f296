package main

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

func (t *tool) list(ctx context.Context, _ []string) error {
	return t.connected(ctx, func(d daemon) error {
		machines, err := d.Machines(ctx)
		if err != nil {
			return err
		}
		return t.ShowTable(ctx, t.machineTable(machines), "machines")
	})
}

func (t *tool) machineTable(machines []machineapi.Machine) *cli.Table {
	slices.SortFunc(machines, func(a, b machineapi.Machine) int { return cmp.Compare(a.Name, b.Name) })
	table := &cli.Table{Empty: "-", Columns: []cli.Column{
		{Name: "MACHINE"}, {Name: "CLASS"}, {Name: "SERVICE"}, {Name: "OS"}, {Name: "VERSION"},
	}}
	if t.maxAddresses > 0 {
		table.Columns = append(table.Columns, cli.Column{Name: "ADDRESSES"})
		table.MaxLines = t.maxAddresses
	}
	if t.full {
		table.MaxLines = 0
	}
	for _, m := range machines {
		if strings.HasPrefix(m.Name, ".") && !t.all {
			continue
		}
		row := []cli.Cell{
			cli.String(m.Name), cli.String(string(m.Class)), cli.KnownString(m.Service),
			cli.KnownString(field(m.OSRelease, "ID")), cli.KnownString(field(m.OSRelease, "VERSION_ID")),
		}
		if t.maxAddresses > 0 {
			row = append(row, cli.KnownString(strings.Join(addresses(m.Addresses), "\n")))
		}
		table.Add(row...)
	}
	return table
}

// field returns the value of a KEY=VALUE list.
func field(assignments []string, key string) string {
	for _, a := range assignments {
		if name, value, _ := strings.Cut(a, "="); name == key {
			return value
		}
	}
	return ""
}

func addresses(list []machineapi.Address) (texts []string) {
	for _, a := range list {
		bytes := make([]byte, len(a.Address))
		for i, b := range a.Address {
			bytes[i] = byte(b)
		}
		if ip, ok := netip.AddrFromSlice(bytes); ok {
			texts = append(texts, ip.String())
		}
	}
	return texts
}
