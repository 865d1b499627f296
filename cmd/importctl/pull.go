package main

import (
	"context"
	"strings"

	"berth/cmd/internal/importapi"
	"berth/images"
)

// pull returns the verb that downloads images of a form.
func (t *tool) pull(form importapi.Form) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := t.needClass(); err != nil {
			return err
		}
		local, err := pulledName(form, args)
		if err != nil {
			return err
		}
		return t.allowed(ctx, func(c daemon) error {
			return t.follow(ctx, c.Pull(ctx, importapi.PullParameters{
				Remote: args[0], Local: local, Type: form, Class: t.class, Verify: t.Verify,
				Force: t.Force, ReadOnly: t.ReadOnly, KeepDownload: t.keep(),
			}))
		})
	}
}

// pullOCI downloads from a container registry, which only systemd's importd can do
// so far.
func (t *tool) pullOCI(ctx context.Context, args []string) error {
	if err := t.needClass(); err != nil {
		return err
	}
	local := registryName(args[0])
	if len(args) > 1 {
		local = args[1]
	}
	if err := images.ValidName(local); err != nil {
		return err
	}
	return t.allowed(ctx, func(c daemon) error {
		return t.follow(ctx, c.PullOCI(ctx, importapi.OCIParameters{
			Reference: args[0], Local: local, Class: t.class, Force: t.Force, ReadOnly: t.ReadOnly,
		}))
	})
}

// registryName is the name of an image in a registry: what is behind the last slash,
// without tag and digest.
func registryName(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	reference = reference[strings.LastIndexByte(reference, '/')+1:]
	name, _, _ := strings.Cut(reference, ":")
	return name
}
