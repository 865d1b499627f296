package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"berth/cmd/internal/cli"
)

// forwarded are the verbs that moved to importctl.
var forwarded = []string{
	"pull-tar", "pull-raw", "import-tar", "import-raw", "import-fs", "export-tar", "export-raw",
	"list-transfers", "cancel-transfer",
}

// forward returns a verb that becomes importctl.
func (t *tool) forward(verb string) func(context.Context, []string) error {
	return func(_ context.Context, args []string) error {
		path, err := findImportctl()
		if err != nil {
			return err
		}
		if !t.Quiet {
			fmt.Fprintf(t.Stderr, "This is now done by importctl: importctl -m %s …\n", verb)
		}
		argv := append(t.forwardedOptions(), "--", verb)
		argv = append(argv, args...)
		if err := syscall.Exec(path, argv, os.Environ()); err != nil {
			return fmt.Errorf("run %s: %w", path, err)
		}
		return nil
	}
}

// forwardedOptions is the beginning of the command line.
func (t *tool) forwardedOptions() []string {
	argv := []string{"importctl", "--class=machine"}
	for _, option := range []struct {
		name string
		on   bool
	}{
		{"--user", t.target.User},
		{"--host=" + t.target.Host, t.target.Host != ""},
		{"--machine=" + t.target.Container, t.target.Container != ""},
		{"--no-pager", t.NoPager},
		{"--no-legend", t.noLegend},
		{"--read-only", t.readOnly},
		{"--force", t.force},
		{"--quiet", t.Quiet},
		{"--no-ask-password", t.noAskPassword},
		{"--verify=" + string(t.verify), t.verify != ""},
		{"--format=" + string(t.format), t.format != ""},
		{"--json=" + string(t.json), t.json != cli.JSONOff},
	} {
		if option.on {
			argv = append(argv, option.name)
		}
	}
	return argv
}

// findImportctl prefers the one that was installed together with us.
func findImportctl() (string, error) {
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), "importctl")
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	path, err := exec.LookPath("importctl")
	if err != nil {
		return "", fmt.Errorf("find importctl, which transfers images: %w", err)
	}
	return path, nil
}
