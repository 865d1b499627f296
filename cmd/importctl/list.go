package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/importapi"
)

func (t *tool) listTransfers(ctx context.Context, _ []string) error {
	return t.connected(ctx, func(c daemon) error {
		transfers, err := c.ListTransfers(ctx, t.class)
		if err != nil {
			return err
		}
		return t.ShowTable(ctx, transferTable(transfers), "transfers")
	})
}

func (t *tool) listImages(ctx context.Context, _ []string) error {
	return t.connected(ctx, func(c daemon) error {
		list, err := c.ListImages(ctx, t.class)
		if err != nil {
			return err
		}
		return t.ShowTable(ctx, imageTable(list, time.Local), "images")
	})
}

func transferTable(transfers []importapi.Transfer) *cli.Table {
	slices.SortFunc(transfers, func(a, b importapi.Transfer) int {
		return cmp.Or(cmp.Compare(a.Local, b.Local), cmp.Compare(a.ID, b.ID))
	})
	table := &cli.Table{Empty: "-", Columns: []cli.Column{
		{Name: "ID", Right: true}, {Name: "PROGRESS", Right: true}, {Name: "TYPE"}, {Name: "CLASS"}, {Name: "LOCAL"}, {Name: "REMOTE"},
	}}
	for _, transfer := range transfers {
		table.Add(
			cli.Cell{Text: fmt.Sprint(transfer.ID), Value: transfer.ID}, percentCell(transfer.Percent),
			cli.String(strings.ReplaceAll(transfer.Type, "_", "-")), cli.String(string(transfer.Class)),
			cli.String(transfer.Local), cli.String(transfer.Remote),
		)
	}
	return table
}

func percentCell(share float64) cli.Cell {
	if share < 0 {
		return cli.Unknown()
	}
	percent := int(share * 100)
	return cli.Cell{Text: fmt.Sprintf("%d%%", percent), Value: percent}
}

func imageTable(list []importapi.Image, zone *time.Location) *cli.Table {
	slices.SortFunc(list, func(a, b importapi.Image) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Name, b.Name))
	})
	table := &cli.Table{Empty: "-", Columns: []cli.Column{
		{Name: "CLASS"},
		{Name: "NAME"},
		{Name: "TYPE"},
		{Name: "PATH"},
		{Name: "RO"},
		{Name: "CRTIME"},
		{Name: "MTIME"},
		{Name: "USAGE"},
		{Name: "LIMIT"},
	}}
	for _, i := range list {
		table.Add(
			cli.String(string(i.Class)), cli.String(i.Name), cli.String(string(i.Type)), cli.String(i.Path),
			cli.Bool(i.ReadOnly, "ro", "rw"), timeCell(i.Created, zone), timeCell(i.Modified, zone),
			sizeCell(i.Usage), sizeCell(i.Limit),
		)
	}
	return table
}

func timeCell(microseconds *int64, zone *time.Location) cli.Cell {
	if microseconds == nil {
		return cli.Time(time.Time{}, zone)
	}
	return cli.Time(time.UnixMicro(*microseconds), zone)
}

func sizeCell(bytes *uint64) cli.Cell {
	if bytes == nil {
		return cli.Unknown()
	}
	return cli.Bytes(*bytes)
}
