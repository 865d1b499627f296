package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/cmd/internal/nsresource"
)

// machined starts the user's machined.
func (h *userHost) machined() (stop func()) {
	h.t.Helper()
	return startDaemon(h.t, h.as("machined", "--user"))
}

// machinectl runs the tool as the user.
func (h *userHost) machinectl(args ...string) (string, error) {
	out, err := h.as("machinectl", append([]string{"--user"}, args...)...).CombinedOutput()
	return string(out), err
}

// foreignVerbs: what machinectl does with images works for those whose files belong to many, too.
func foreignVerbs(t *testing.T, programs string) {
	h := newUserHost(t, programs, homeOnTmpfs, true)
	defer h.daemon()()
	defer h.machined()()
	archive := h.write("tree.tar", foreignArchive(t))
	h.must(os.Chmod(archive, 0o644))
	h.tool("import-tar", archive, "made")
	for _, args := range [][]string{
		{"clone", "made", "copy"},
		{"image-status", "copy"},
		{"rename", "made", "renamed"},
		{"export-tar", "renamed", filepath.Join(h.home, "out.tar")},
		{"import-tar", filepath.Join(h.home, "out.tar"), "again"},
		{"clone", "renamed", "gone"},
		{"remove", "gone"},
	} {
		if out, err := h.machinectl(args...); err != nil {
			t.Errorf("machinectl %q: %v\n%s", args, err, out)
		}
	}
	for _, name := range []string{"copy", "renamed", "again"} {
		h.wantTree(name)
	}
	if out, err := h.machinectl("remove", "copy", "renamed", "again"); err != nil {
		t.Errorf("remove all: %v\n%s", err, out)
	}
	if left := h.left(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// foreignVerbsWithoutServices: both transports say which service is missing, and nothing is half gone.
func foreignVerbsWithoutServices(t *testing.T, programs string) {
	h := newUserHost(t, programs, homeOnTmpfs, false)
	stop := h.services()
	archive := h.write("tree.tar", foreignArchive(t))
	h.must(os.Chmod(archive, 0o644))
	end := h.daemon()
	h.tool("import-tar", archive, "made")
	end()
	stop()
	defer h.machined()()
	for _, args := range [][]string{{"clone", "made", "copy"}, {"remove", "made"}} {
		if out, err := h.machinectl(args...); err == nil || !strings.Contains(out, "/run/systemd/io.systemd.") {
			t.Errorf("machinectl %q: %v\n%s", args, err, out)
		}
		call := []string{
			"--address=unix:path=" + h.run + "/bus", "call", "org.freedesktop.machine1", "/org/freedesktop/machine1",
			"org.freedesktop.machine1.Manager",
		}
		call = append(call, map[string][]string{
			"clone": {"CloneImage", "ssb", "made", "copy", "false"}, "remove": {"RemoveImage", "s", "made"},
		}[args[0]]...)
		h.wantRefusal(call)
	}
	if left := h.left(); fmt.Sprint(left) != "[made]" {
		t.Errorf("left are %q", left)
	}
}

// wantRefusal makes a call on the user's bus that has to say where nobody answers.
func (h *userHost) wantRefusal(call []string) {
	h.t.Helper()
	busctl, err := exec.LookPath("busctl")
	if err != nil {
		h.t.Log("NOT TESTED: busctl is not installed")
		return
	}
	cmd := h.as("busctl", call...)
	cmd.Path = busctl
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), filepath.Dir(nsresource.NamespaceSocket)+"/io.systemd.") {
		h.t.Errorf("busctl %q: %v\n%s", call, err, out)
	}
}
