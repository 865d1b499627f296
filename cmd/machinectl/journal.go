package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"berth/cmd/internal/machineapi"
)

// journal returns the last lines that a machine's unit has logged since it was
// registered, "" where there is no journal to be read.
func (t *tool) journal(ctx context.Context, d machineapi.Description) string {
	if t.lines == 0 || d.Unit == "" || d.Timestamp == nil || !t.Target.Local() {
		return ""
	}
	path, err := exec.LookPath("journalctl")
	if err != nil {
		return "" // the host logs in another way
	}
	unit := "--unit="
	if t.Target.User {
		unit = "--user-unit="
	}
	args := []string{
		"--no-pager", "--quiet", "--boot", unit + d.Unit, "--lines=" + strconv.Itoa(t.lines),
		fmt.Sprintf("--since=@%d.%06d", d.Timestamp.Realtime/1e6, d.Timestamp.Realtime%1e6),
	}
	if t.journalMode != "" {
		args = append(args, "--output="+t.journalMode)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout = &out
	if cmd.Run() != nil || strings.TrimSpace(out.String()) == "" {
		return ""
	}
	return "\n" + out.String()
}
