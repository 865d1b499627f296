package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"berth/cmd/internal/console"
	"berth/cmd/internal/importapi"
	"berth/images"
	"berth/transfer/compress"
)

// exportAs returns the verb that writes images to files or pipes.
func (t *tool) exportAs(form importapi.Form) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := t.needClass(); err != nil {
			return err
		}
		if err := images.ValidName(args[0]); err != nil {
			return err
		}
		format := t.Format
		if format == "" {
			format = compress.None
			if given(args, 1) {
				format = compress.FormatOf(args[1])
			}
		}
		parameters := importapi.ExportParameters{
			Local: args[0], Type: form, Class: t.class, Format: string(format),
		}
		return t.allowed(ctx, func(c daemon) error {
			if given(args, 1) {
				return t.exportTo(ctx, c, parameters, args[1])
			}
			if console.IsTerminal(t.Stdout) {
				return errors.New("standard output is a terminal: name a file to export to, or a pipe")
			}
			return t.follow(ctx, c.Export(ctx, parameters, t.Stdout))
		})
	}
}

// exportTo leaves no new file behind when the export fails. One that was there
// has lost its content by then.
func (t *tool) exportTo(ctx context.Context, c daemon, p importapi.ExportParameters, path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	}
	if err != nil {
		return fmt.Errorf("open file to export to: %w", err)
	}
	err = errors.Join(t.follow(ctx, c.Export(ctx, p, file)), file.Close())
	if made && err != nil && !errors.Is(err, errLeft) {
		if gone := os.Remove(path); gone != nil {
			err = errors.Join(err, fmt.Errorf("remove unfinished export: %w", gone))
		}
	}
	return err
}
