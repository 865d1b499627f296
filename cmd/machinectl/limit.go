package main

import (
	"context"
	"fmt"
	"slices"

	"berth/cmd/internal/cli"
	"berth/images"
)

// setLimit limits the size of an image, or of all of them together.
func (t *tool) setLimit(ctx context.Context, args []string) error {
	text := args[len(args)-1]
	limit := images.Unknown
	if !slices.Contains([]string{"-", "none", "infinity"}, text) {
		var err error
		if limit, err = cli.ParseBytes(text); err != nil {
			return &cli.UsageError{Text: fmt.Sprintf("'%s' is not a size.", text)}
		}
	}
	return t.allowed(ctx, func(d daemon) error {
		if len(args) == 1 {
			return step("limit the pool of images", d.SetPoolLimit(ctx, limit))
		}
		return step("limit the image", d.SetLimit(ctx, args[0], limit))
	})
}
