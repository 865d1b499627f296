package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/machineapi"
	"berth/images"
)

// imageStatus describes images, or their pool. It prints what was found before
// the first failure.
func (t *tool) imageStatus(ctx context.Context, names []string) error {
	return t.connected(ctx, func(d daemon) error {
		var texts []string
		var failed error
		if len(names) == 0 {
			list, err := t.managerProperties(ctx, d)
			if err != nil {
				return err
			}
			texts = []string{describePool(list)}
		}
		for _, name := range names {
			i, err := d.Image(ctx, name)
			if failed = err; err != nil {
				break
			}
			texts = append(texts, describeImage(i, statusContext{zone: time.Local, now: time.Now()}))
		}
		return errors.Join(t.Page(ctx, func(w io.Writer) error { return printTexts(w, texts) }), failed)
	})
}

// describePool shows where images are kept, and what they take there.
func describePool(list []machineapi.Property) string {
	var out labelled
	for _, p := range list {
		switch value := p.Value.(type) {
		case string:
			out.field(strings.TrimPrefix(p.Name, "Pool"), value)
		case uint64:
			if value != images.Unknown {
				out.field(strings.TrimPrefix(p.Name, "Pool"), cli.FormatBytes(value))
			}
		}
	}
	return out.String()
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
