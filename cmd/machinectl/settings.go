package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/cmd/internal/cli"
	"berth/machined"
)

// settingsDirs are where settings of machines are, the first one wins. Those
// beside the images came with them.
var settingsDirs = []string{"/etc/systemd/nspawn", "/run/systemd/nspawn", "/var/lib/machines"}

const settingsSuffix = ".nspawn"

// errNoSettings means that a machine has no settings file.
var errNoSettings = errors.New("there are no settings")

// settingsHere refuses what has no settings files on this host.
func (t *tool) settingsHere() error {
	switch {
	case !t.Target.Local():
		return errors.New("settings can only be seen and changed on this host")
	case t.runner == runnerVM:
		return errors.New("there are no settings files for virtual machines")
	}
	return nil
}

// settingsFile returns where the settings of a machine are, or are to be, from
// its name or the path of the file. The error [errNoSettings] comes with the
// place for new ones.
func settingsFile(argument string) (string, error) {
	if filepath.IsAbs(argument) {
		if _, err := os.Stat(argument); errors.Is(err, fs.ErrNotExist) {
			return argument, fmt.Errorf("%w at %s", errNoSettings, argument)
		} else if err != nil {
			return "", fmt.Errorf("find settings: %w", err)
		}
		return argument, nil
	}
	machine := strings.TrimSuffix(argument, settingsSuffix)
	if machined.ValidName(machine) != nil {
		return "", &cli.UsageError{Text: fmt.Sprintf("'%s' is neither a machine's name nor an absolute path.", argument)}
	}
	for _, dir := range settingsDirs {
		path := filepath.Join(dir, machine+settingsSuffix)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find settings: %w", err)
		}
	}
	return filepath.Join(settingsDirs[0], machine+settingsSuffix), fmt.Errorf("%w for '%s'", errNoSettings, argument)
}

// cat prints settings, all that there are even if some are missing.
func (t *tool) cat(ctx context.Context, arguments []string) error {
	if err := t.settingsHere(); err != nil {
		return err
	}
	var out bytes.Buffer
	var failed error
	for _, argument := range arguments {
		path, err := settingsFile(argument)
		var text []byte
		if err == nil {
			text, err = os.ReadFile(path)
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		heading := cli.Style("0;34").Text("# "+cli.Printable(path), t.Colors())
		fmt.Fprintf(&out, "%s\n%s", heading, printableLines(string(text)))
	}
	if out.Len() == 0 {
		return failed
	}
	err := t.Page(ctx, func(w io.Writer) error {
		if _, err := out.WriteTo(w); err != nil {
			return fmt.Errorf("print settings: %w", err)
		}
		return nil
	})
	return errors.Join(err, failed)
}

// printableLines is a text that does not command the terminal: it may have come
// with an image.
func printableLines(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(cli.Printable(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "        ")) + "\n")
	}
	return out.String()
}
