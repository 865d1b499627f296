package packaging_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree is a file system to install into, in place of a host's.
type tree struct {
	t   *testing.T
	dir string
	bin string // holds what stands for built programs
}

// program stands for each program. The tests of what is installed do not run
// them, but for the one question that install asks.
const program = "#!/bin/sh\necho Usage: program\n"

// newTree makes a tree with the given files, which end with their content, and
// directories, which end with a slash.
func newTree(t *testing.T, files ...string) *tree {
	t.Helper()
	tr := &tree{t, t.TempDir(), t.TempDir()}
	for _, name := range []string{"machined", "importd", "machinectl", "importctl"} {
		write(t, filepath.Join(tr.bin, name), program, 0o755)
	}
	for _, path := range files {
		tr.add(path, "of the host\n")
	}
	return tr
}

func (tr *tree) add(path, content string) {
	tr.t.Helper()
	full := filepath.Join(tr.dir, path)
	if strings.HasSuffix(path, "/") {
		if err := os.MkdirAll(full, 0o755); err != nil {
			tr.t.Fatal(err)
		}
		return
	}
	write(tr.t, full, content, 0o644)
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// make runs a target with the tree as DESTDIR, and gives what it prints.
func (tr *tree) make(target string, variables ...string) (string, error) {
	tr.t.Helper()
	args := append([]string{"-s", "-C", "..", target, "DESTDIR=" + tr.dir, "BIN=" + tr.bin}, variables...)
	cmd := exec.CommandContext(tr.t.Context(), "make", args...)
	// Variables of the make that runs the tests are no part of them.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tr.t.TempDir()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (tr *tree) mustMake(target string, variables ...string) string {
	tr.t.Helper()
	out, err := tr.make(target, variables...)
	if err != nil {
		tr.t.Fatalf("make %s %v: %v\n%s", target, variables, err, out)
	}
	return out
}

// list describes each entry of the tree, by path.
func (tr *tree) list() map[string]string {
	tr.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(tr.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == tr.dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch d.Type() {
		case 0:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x", sha256.Sum256(content))
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " -> " + target
		}
		all[strings.TrimPrefix(path, tr.dir)] = what
		return nil
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	return all
}

// read gives the content of a file of the tree.
func (tr *tree) read(path string) string {
	tr.t.Helper()
	content, err := os.ReadFile(filepath.Join(tr.dir, path))
	if err != nil {
		tr.t.Fatal(err)
	}
	return string(content)
}

// added are the paths that are in after but not in before, sorted. Whatever is
// in both must be the same.
func added(t *testing.T, before, after map[string]string) []string {
	t.Helper()
	var paths []string
	for path, what := range after {
		if old, ok := before[path]; !ok {
			paths = append(paths, path)
		} else if old != what {
			t.Errorf("%s was %s and is %s", path, old, what)
		}
	}
	for path := range maps.Keys(before) {
		if _, ok := after[path]; !ok {
			t.Errorf("%s is gone", path)
		}
	}
	slices.Sort(paths)
	return paths
}
