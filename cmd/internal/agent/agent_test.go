package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"berth/cmd/internal/agent"
)

func TestAgentIsReadyAndEnds(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("LOG", log)
	script := "#!/bin/sh\ntrap 'echo ended >>$LOG; exit' TERM\necho \"$*\" >>$LOG\nexec 3>&-\nwhile :; do sleep 0.01; done\n"
	if err := os.WriteFile(filepath.Join(dir, "pkttyagent"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	stop, err := agent.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(log); string(text) != "--notify-fd 3 --fallback\n" {
		t.Errorf("after its start: %q, %v", text, err)
	}
	stop()
	if text, err := os.ReadFile(log); string(text) != "--notify-fd 3 --fallback\nended\n" {
		t.Errorf("after its end: %q, %v", text, err)
	}
}

func TestNoAgent(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	stop, err := agent.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
}
