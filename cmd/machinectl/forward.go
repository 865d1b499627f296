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
	argv := append([]string{"importctl", "--class=machine"}, t.TargetOptions()...)
	for _, option := range []struct {
		name string
		on   bool
	}{
		{"--no-pager", t.NoPager},
		{"--no-legend", t.NoLegend},
		{"--read-only", t.ReadOnly},
		{"--force", t.Force},
		{"--quiet", t.Quiet},
		{"--no-ask-password", t.NoAskPassword},
		{"--verify=" + string(t.Verify), t.Verify != ""},
		{"--format=" + string(t.Format), t.Format != ""},
		{"--json=" + string(t.AsJSON), t.AsJSON != cli.JSONOff},
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
