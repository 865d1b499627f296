package main

import (
	"context"

	"berth/cmd/internal/importapi"
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
		return t.connected(ctx, func(c *importapi.Client) error {
			return t.follow(ctx, c.Pull(ctx, importapi.PullParameters{
				Remote: args[0], Local: local, Type: form, Class: t.class, Verify: t.verify,
				Force: t.force, ReadOnly: t.readOnly, KeepDownload: t.keep(), Interactive: true,
			}))
		})
	}
}
