package main

import (
	"context"
	"fmt"
	"strconv"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/importapi"
)

func (t *tool) verbs() []cli.Verb {
	return []cli.Verb{
		{Name: "pull-tar", Min: 1, Max: 2, Run: t.pull(importapi.FormTar)},
		{Name: "pull-raw", Min: 1, Max: 2, Run: t.pull(importapi.FormRaw)},
		{Name: "pull-oci", Min: 1, Max: 2, Run: t.pullOCI},
		{Name: "import-tar", Min: 1, Max: 2, Run: t.importAs(importapi.FormTar)},
		{Name: "import-raw", Min: 1, Max: 2, Run: t.importAs(importapi.FormRaw)},
		{Name: "import-fs", Min: 1, Max: 2, Run: t.importAs(importapi.FormFS)},
		{Name: "export-tar", Min: 1, Max: 2, Run: t.exportAs(importapi.FormTar)},
		{Name: "export-raw", Min: 1, Max: 2, Run: t.exportAs(importapi.FormRaw)},
		{Name: "list-transfers", Max: 0, Default: true, Run: t.listTransfers},
		{Name: "cancel-transfer", Min: 1, Max: cli.Any, Run: t.cancel},
		{Name: "list-images", Max: 0, Run: t.listImages},
		{Name: "help", Max: cli.Any, Run: t.showHelp},
	}
}

// cancel stops at the first transfer that cannot be canceled.
func (t *tool) cancel(ctx context.Context, args []string) error {
	ids := make([]uint32, len(args))
	for i, arg := range args {
		id, err := strconv.ParseUint(arg, 10, 32)
		if err != nil || id == 0 {
			return &cli.UsageError{Text: fmt.Sprintf("'%s' is not the number of a transfer.", arg)}
		}
		ids[i] = uint32(id)
	}
	return t.allowed(ctx, func(c daemon) error {
		for _, id := range ids {
			if err := c.Cancel(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}
