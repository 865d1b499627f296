package main

import (
	"context"
	"io"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
)

// imageStatus describes images, or their pool.
func (t *tool) imageStatus(ctx context.Context, names []string) error {
	if len(names) == 0 {
		var out labelled
		out.field("Path", poolPath())
		return t.Page(ctx, func(w io.Writer) error { return printTexts(w, []string{out.String()}) })
	}
	return t.connected(ctx, func(c *machineapi.Client) error {
		var texts []string
		for _, name := range names {
			i, err := c.Image(ctx, name)
			if err != nil {
				return err
			}
			texts = append(texts, describeImage(i, statusContext{zone: time.Local, now: time.Now()}))
		}
		return t.Page(ctx, func(w io.Writer) error { return printTexts(w, texts) })
	})
}

func describeImage(i machineapi.Image, c statusContext) string {
	var out labelled
	out.WriteString(cli.Printable(i.Name) + "\n")
	out.field("Type", string(i.Type))
	out.field("Path", i.Path)
	out.field("Hostname", i.Hostname)
	out.field("Machine ID", i.MachineID)
	out.field("Deployment", field(i.MachineInfo, "DEPLOYMENT"))
	out.field("OS", field(i.OSRelease, "PRETTY_NAME"))
	access := "writable"
	if i.ReadOnly {
		access = "read-only"
	}
	out.field("RO", access)
	if i.Created != nil {
		out.field("Created", c.moment(*i.Created))
	}
	if i.Modified != nil {
		out.field("Modified", c.moment(*i.Modified))
	}
	out.field("Usage", sizes(i.Usage, i.UsageExclusive))
	out.field("Limit", sizes(i.Limit, i.LimitExclusive))
	return out.String()
}

// sizes shows a size, and the part of it that no other image shares.
func sizes(all, exclusive *uint64) string {
	if all == nil {
		return ""
	}
	text := cli.FormatBytes(*all)
	if exclusive != nil && *exclusive != *all {
		text += " (exclusive: " + cli.FormatBytes(*exclusive) + ")"
	}
	return text
}
