package main

import (
	"context"
	"fmt"
	"path/filepath"

	"berth/cmd/internal/machineapi"
)

// copyFiles returns a verb that copies into a machine or out of it. The path on
// the host may be relative to our own directory.
func (t *tool) copyFiles(into bool) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		f := machineapi.Files{Machine: args[0], Source: args[1], Destination: args[1], Into: into, Replace: t.Force}
		if len(args) > 2 {
			f.Destination = args[2]
		}
		host, inside := &f.Destination, &f.Source
		if into {
			host, inside = inside, host
		}
		absolute, err := filepath.Abs(*host)
		if err != nil {
			return fmt.Errorf("find '%s' on the host: %w", *host, err)
		}
		if len(args) == 2 && !filepath.IsAbs(*inside) {
			*inside = absolute // the same path on both sides
		}
		*host = absolute
		if !filepath.IsAbs(*inside) {
			return fmt.Errorf("the path in the machine must be absolute: '%s'", *inside)
		}
		*inside = filepath.Clean(*inside)
		return t.allowed(ctx, func(d daemon) error { return step("copy '"+f.Source+"'", d.Copy(ctx, f)) })
	}
}

// bind mounts a directory or file of the host in a machine.
func (t *tool) bind(ctx context.Context, args []string) error {
	b := machineapi.Bind{Machine: args[0], Source: args[1], ReadOnly: t.ReadOnly, Mkdir: t.mkdir}
	if len(args) > 2 {
		b.Destination = args[2]
	}
	return t.allowed(ctx, func(d daemon) error { return step("mount '"+b.Source+"'", d.Bind(ctx, b)) })
}
