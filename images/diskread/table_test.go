package diskread_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/images/partition"
)

// text of a partition type, as tools write it.
func text(on [16]byte) string {
	order := []int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}
	var in [16]byte
	for i, from := range order {
		in[i] = on[from]
	}
	s := hex.EncodeToString(in[:])
	return strings.ToUpper(s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:])
}

// partitioned makes a disk with sectors of a size and a partition of 8 MiB for
// each type and tree, by the tools that people use.
func partitioned(t *testing.T, sector int, parts ...part) string {
	t.Helper()
	needLoops(t)
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 64<<20)); err != nil {
		t.Fatal(err)
	}
	const size = 8 << 20
	script := "g\n"
	for i, p := range parts {
		first := (i + 1) * size / sector
		script += fmt.Sprintf("n\n%d\n%d\n%d\nt\n", i+1, first, first+size/sector-1)
		if i > 0 {
			script += fmt.Sprintf("%d\n", i+1) // with one there is nothing to ask
		}
		script += text(p.kind) + "\n"
	}
	fdisk, err := exec.LookPath("fdisk")
	if err != nil {
		t.Skip("NOT TESTED: needs fdisk")
	}
	cmd := exec.CommandContext(t.Context(), fdisk, "--sector-size", strconv.Itoa(sector), path)
	cmd.Stdin = strings.NewReader(script + "w\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, p := range parts {
		tool(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "offset="+strconv.Itoa((i+1)*size), "-d", p.tree, path, "7M")
	}
	return path
}

type part struct {
	kind [16]byte
	tree string
}

// usrOf makes what is in /usr of a small tree.
func usrOf(t *testing.T, id string) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/lib", 0o755), os.WriteFile(dir+"/lib/os-release", []byte("ID="+id+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

const vendor = "usr/lib/os-release"

// A disk may have sectors of 4 KiB, and /usr in a partition of its own, which may
// be the only one.
func TestDisksOfTools(t *testing.T) {
	root, usr := partition.RootType(), partition.UsrType()
	for name, c := range map[string]struct {
		sector int
		parts  []part
		want   map[string]string
	}{
		"root":               {512, []part{{root, tree(t)}}, map[string]string{release: "ID=test\n", vendor: "ID=test\n", hostname: "inside\n"}},
		"large sectors":      {4096, []part{{root, tree(t)}}, map[string]string{release: "ID=test\n", vendor: "ID=test\n", hostname: "inside\n"}},
		"usr only":           {512, []part{{usr, usrOf(t, "usr")}}, map[string]string{vendor: "ID=usr\n"}},
		"usr, large sectors": {4096, []part{{usr, usrOf(t, "usr")}}, map[string]string{vendor: "ID=usr\n"}},
		"both":               {512, []part{{root, tree(t)}, {usr, usrOf(t, "usr")}}, map[string]string{release: "ID=test\n", vendor: "ID=usr\n", hostname: "inside\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := partitioned(t, c.sector, c.parts...)
			got, err := read(t, path, release, vendor, hostname)
			if err != nil || len(got) != len(c.want) {
				t.Errorf("%q, %v", got, err)
			}
			for file, want := range c.want {
				if string(got[file]) != want {
					t.Errorf("%s: %q, want %q", file, got[file], want)
				}
			}
			noLoopOf(t, path)
		})
	}
}
