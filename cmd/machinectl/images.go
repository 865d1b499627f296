package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
	"berth/images"
)

func (t *tool) listImages(ctx context.Context, _ []string) error {
	return t.connected(ctx, func(d daemon) error {
		list, err := d.Images(ctx)
		if err != nil {
			return err
		}
		return t.ShowTable(ctx, t.imageTable(list, time.Local), "images")
	})
}

func (t *tool) imageTable(list []machineapi.Image, zone *time.Location) *cli.Table {
	slices.SortFunc(list, func(a, b machineapi.Image) int { return cmp.Compare(a.Name, b.Name) })
	table := &cli.Table{Columns: []cli.Column{
		{Name: "NAME"}, {Name: "TYPE"}, {Name: "RO"}, {Name: "USAGE", Right: true}, {Name: "CREATED"}, {Name: "MODIFIED"},
	}}
	for _, i := range list {
		if strings.HasPrefix(i.Name, ".") && !t.all {
			continue
		}
		readOnly := cli.Bool(i.ReadOnly, "yes", "no")
		if i.ReadOnly {
			readOnly.Style = cli.Red
		}
		usage := cli.Unknown()
		if i.Usage != nil {
			usage = cli.Bytes(*i.Usage)
		}
		table.Add(cli.String(i.Name), cli.String(string(i.Type)), readOnly, usage,
			timeCell(i.Created, zone), timeCell(i.Modified, zone))
	}
	return table
}

func timeCell(microseconds *int64, zone *time.Location) cli.Cell {
	if microseconds == nil {
		return cli.Time(time.Time{}, zone)
	}
	return cli.Time(time.UnixMicro(*microseconds), zone)
}

func (t *tool) rename(ctx context.Context, args []string) error {
	return t.allowed(ctx, func(d daemon) error { return step("rename the image", d.Rename(ctx, args[0], args[1])) })
}

func (t *tool) setReadOnly(ctx context.Context, args []string) error {
	readOnly := true
	if len(args) > 1 {
		var ok bool
		if readOnly, ok = cli.ParseBool(args[1]); !ok {
			return &cli.UsageError{Text: fmt.Sprintf("'%s' is neither yes nor no.", args[1])}
		}
	}
	return t.allowed(ctx, func(d daemon) error { return step("change the image", d.SetReadOnly(ctx, args[0], readOnly)) })
}

func remove(ctx context.Context, d daemon, name string) error { return d.Remove(ctx, name) }

// clean says what is gone even if not all could be removed.
func (t *tool) clean(ctx context.Context, _ []string) error {
	return t.allowed(ctx, func(d daemon) error {
		removed, err := d.Clean(ctx, t.all)
		if !t.Quiet {
			fmt.Fprint(t.Stdout, cleanReport(removed))
		}
		return err
	})
}

func cleanReport(removed []images.Removed) string {
	var out strings.Builder
	var total uint64
	freed := func(n uint64) string { return "Freed exclusive disk space: " + cli.FormatBytes(n) }
	for _, r := range removed {
		fmt.Fprintf(&out, "Removed image '%s'.", cli.Printable(r.Name))
		if r.UsageExclusive != images.Unknown {
			total += r.UsageExclusive
			fmt.Fprintf(&out, " %s", freed(r.UsageExclusive))
		}
		out.WriteByte('\n')
	}
	fmt.Fprintf(&out, "Removed %d images in total.", len(removed))
	if total > 0 {
		fmt.Fprintf(&out, " %s", freed(total))
	}
	out.WriteByte('\n')
	return out.String()
}
