package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"berth/cmd/internal/console"
)

// edit lets the user change settings. Those that came with an image stay as they
// are: a copy in the place of the administrator takes precedence over them.
func (t *tool) edit(ctx context.Context, arguments []string) error {
	if err := t.settingsHere(); err != nil {
		return err
	}
	if !console.IsTerminal(t.Stdin) || !console.IsTerminal(t.Stdout) {
		return errors.New("settings can only be edited on a terminal")
	}
	for _, argument := range arguments {
		path, err := settingsFile(argument)
		if err != nil && !errors.Is(err, errNoSettings) {
			return err
		}
		target := path
		if !filepath.IsAbs(argument) && filepath.Dir(path) != settingsDirs[0] {
			target = filepath.Join(settingsDirs[0], filepath.Base(path))
		}
		if err := t.editCopy(ctx, path, target); err != nil {
			return fmt.Errorf("edit %s: %w", target, err)
		}
	}
	return nil
}

// editCopy opens an editor on a copy of the file at path, and puts the copy at
// target. Nothing happens if it is empty then, or the same as what is there.
func (t *tool) editCopy(ctx context.Context, path, target string) (err error) {
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(target), ".#"+filepath.Base(target)+"*")
	if err != nil {
		return err
	}
	defer func() {
		if removeErr := os.Remove(draft.Name()); !errors.Is(removeErr, os.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}()
	_, err = draft.Write(before)
	if err := errors.Join(err, draft.Chmod(0o644), draft.Close()); err != nil {
		return err
	}
	if err := t.runEditor(ctx, draft.Name()); err != nil {
		return err
	}
	after, err := os.ReadFile(draft.Name())
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(after)) == 0 || path == target && bytes.Equal(before, after) {
		t.say("%s: nothing was changed.", target)
		return nil
	}
	if err := os.Rename(draft.Name(), target); err != nil {
		return err
	}
	t.say("Wrote %s.", target)
	return nil
}

// runEditor tries the user's editor first, and what is usually there if none was
// chosen.
func (t *tool) runEditor(ctx context.Context, path string) error {
	for _, name := range []string{"SYSTEMD_EDITOR", "EDITOR", "VISUAL"} {
		if command := strings.Fields(t.Getenv(name)); len(command) > 0 {
			return t.interact(ctx, command, path)
		}
	}
	for _, program := range []string{"editor", "nano", "vim", "vi"} {
		if _, err := exec.LookPath(program); err == nil {
			return t.interact(ctx, []string{program}, path)
		}
	}
	return errors.New("there is no editor: set $SYSTEMD_EDITOR or $EDITOR to one")
}

func (t *tool) interact(ctx context.Context, command []string, path string) error {
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], path)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.Stdin, t.Stdout, t.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	return nil
}
