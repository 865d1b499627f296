package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"berth/cmd/internal/console"
	"berth/cmd/internal/importapi"
)

// importAs returns the verb that makes images of files, pipes or directories.
func (t *tool) importAs(form importapi.Form) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) (err error) {
		if err := t.needClass(); err != nil {
			return err
		}
		local, err := importedName(form, args)
		if err != nil {
			return err
		}
		file := t.Stdin
		if given(args, 0) {
			if file, err = openSource(form, args[0]); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
		} else if console.IsTerminal(file) {
			return errors.New("standard input is a terminal, not an image")
		}
		return t.allowed(ctx, func(c daemon) error {
			return t.follow(ctx, c.Import(ctx, importapi.ImportParameters{
				Local: local, Type: form, Class: t.class,
				Force: t.Force, ReadOnly: t.ReadOnly,
			}, file))
		})
	}
}

func openSource(form importapi.Form, path string) (*os.File, error) {
	flags := os.O_RDONLY
	if form == importapi.FormFS {
		flags |= syscall.O_DIRECTORY
	} else if strings.HasSuffix(path, "/") {
		return nil, fmt.Errorf("open image to import: %w", &os.PathError{Op: "open", Path: path, Err: syscall.EISDIR})
	}
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open image to import: %w", err)
	}
	return file, nil
}
