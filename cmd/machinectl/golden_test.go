package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/cmd/internal/cli"
	"berth/cmd/internal/console"
	"berth/cmd/internal/machineapi"

	"github.com/google/go-cmp/cmp"
)

// golden is what machined or machinectl of systemd 262 printed.
func golden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/golden", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// replies are what machined of systemd 262 answered.
func replies[T any](t *testing.T, name string) (list []T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(golden(t, name)))
	for decoder.More() {
		var item T
		if err := decoder.Decode(&item); err != nil {
			t.Fatal(err)
		}
		list = append(list, item)
	}
	return list
}

func named[T any](t *testing.T, list []T, is func(T) bool) T {
	t.Helper()
	for _, item := range list {
		if is(item) {
			return item
		}
	}
	t.Fatal("no such reply")
	panic("unreachable")
}

// toolFor returns a tool that writes to files, and what reads its standard output
// from the beginning.
func toolFor(t *testing.T, args ...string) (tool *tool, stdout func() string) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		return f
	}
	tool = newTool(&console.Console{
		Tool: "machinectl", Stdin: open("in"), Stdout: open("out"), Stderr: open("err"),
		Getenv: func(string) string { return "" },
	})
	if _, err := cli.ParseOptions(tool.flags(), args, nil); err != nil {
		t.Fatal(err)
	}
	return tool, func() string {
		text, err := io.ReadAll(io.NewSectionReader(tool.Stdout, 0, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func TestListsLookLikeThoseOfSystemd(t *testing.T) {
	machines := replies[machineapi.Machine](t, "varlink-machine-list.json")
	images := replies[machineapi.Image](t, "varlink-image-list.json")
	for _, mode := range []struct{ option, suffix string }{{"--output=short", ".txt"}, {"--output=json", ".json"}} {
		tool, stdout := toolFor(t, mode.option)
		if err := tool.ShowTable(t.Context(), tool.machineTable(machines), "machines"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(golden(t, "machinectl-list"+mode.suffix), stdout()); diff != "" {
			t.Error(diff)
		}
		tool, stdout = toolFor(t, mode.option)
		if err := tool.ShowTable(t.Context(), tool.imageTable(images, time.UTC), "images"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(golden(t, "machinectl-list-images"+mode.suffix), stdout()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestStatusLooksLikeThatOfSystemd(t *testing.T) {
	run1 := named(t, replies[machineapi.Machine](t, "varlink-machine-list.json"),
		func(m machineapi.Machine) bool { return m.Name == "run1" })
	names := map[int]string{120: "init", 114: "systemd-nspawn"}
	got := machineStatus(machineapi.Description{Machine: run1, Interfaces: []int32{3}}, statusContext{
		time.UTC, time.UnixMicro(1795474514999999),
		func(pid int) string { return names[pid] },
		func(index int) string { return map[int]string{3: "ve-run1"}[index] },
	})
	var want strings.Builder
	for line := range strings.Lines(golden(t, "machinectl-status.txt")) {
		if !strings.Contains(line, "─") { // processes are those of the moment
			want.WriteString(line)
		}
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Error(diff)
	}
	tree := named(t, replies[machineapi.Image](t, "varlink-image-list.json"),
		func(i machineapi.Image) bool { return i.Name == "tree" })
	got = describeImage(tree, statusContext{zone: time.UTC, now: time.UnixMicro(1795474515000000)})
	if diff := cmp.Diff(golden(t, "machinectl-image-status.txt"), got); diff != "" {
		t.Error(diff)
	}
}

// Scripts, Salt's among them, take the words before the colons for names, the first
// word of the leader for its number, and stop at the tree as LC_ALL=C draws it.
func TestStatusIsReadByScripts(t *testing.T) {
	run1 := named(t, replies[machineapi.Machine](t, "varlink-machine-list.json"),
		func(m machineapi.Machine) bool { return m.Name == "run1" })
	text := machineStatus(machineapi.Description{Machine: run1}, statusContext{
		time.UTC, time.UnixMicro(1795474514999999), func(int) string { return "init" }, func(int) string { return "" },
	})
	processes := &group{}
	processes.add(120, "sshd: Unit: of nobody")
	processes.child("below").add(121, "Leader: 7")
	var tree strings.Builder
	processes.draw(&tree, treeIndent, branchesOf(func(name string) string { return map[string]string{"LC_ALL": "C"}[name] }))
	read := map[string]string{}
	for line := range strings.Lines(text + tree.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "|") || strings.HasPrefix(strings.TrimSpace(line), "`") {
			break
		}
		if name, value, found := strings.Cut(line, ":"); found {
			read[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	for name, want := range map[string]string{
		"Leader": "120", "Service": "systemd-nspawn;", "Root": "/var/lib/machines/run1", "Unit": "systemd-nspawn@run1.service",
	} {
		if got, _, _ := strings.Cut(read[name], " "); got != want {
			t.Errorf("%s is read as %q, want %q", name, got, want)
		}
	}
	for locale, want := range map[string]string{"": "├─", "C.UTF-8": "├─", "de_DE.utf8": "├─", "POSIX": "|-", "de_DE": "|-"} {
		if got := branchesOf(func(string) string { return locale }); got.middle != want {
			t.Errorf("in %q branches are %q, want %q", locale, got.middle, want)
		}
	}
}

func TestPropertiesLookLikeThoseOfSystemd(t *testing.T) {
	run1 := named(t, replies[machineapi.Machine](t, "varlink-machine-list.json"),
		func(m machineapi.Machine) bool { return m.Name == "run1" })
	tree := named(t, replies[machineapi.Image](t, "varlink-image-list.json"),
		func(i machineapi.Image) bool { return i.Name == "tree" })
	pool, err := new(machineapi.Client).ManagerProperties(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]machineapi.Property{
		"machinectl-show.txt":         machineapi.Description{Machine: run1, State: "running"}.Properties(),
		"machinectl-show-image.txt":   tree.Properties(),
		"machinectl-show-manager.txt": pool,
	} {
		var out bytes.Buffer
		tool, _ := toolFor(t)
		if err := tool.printProperties(&out, formatProperties(list, time.UTC)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(golden(t, name), out.String()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
