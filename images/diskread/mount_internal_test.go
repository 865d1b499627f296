package diskread

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/images/partition"
)

// An image that says "panic when I am damaged" does not get its way.
func TestDamageDoesNotPanic(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("NOT TESTED: needs loop devices: ", err)
	}
	path := filepath.Join(t.TempDir(), "disk")
	mkfs, err := exec.LookPath("mke2fs")
	if err != nil {
		t.Skip("NOT TESTED: needs mke2fs")
	}
	if out, err := exec.CommandContext(t.Context(), mkfs, "-q", "-t", "ext4", "-e", "panic", path, "8M").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	disk, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	loop, err := attach(disk, partition.Extent{Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	root, err := mount("ext4", loop.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	options := filepath.Join("/proc/fs/ext4", filepath.Base(loop.Name()), "options")
	text, err := os.ReadFile(options)
	if err != nil {
		t.Skip("NOT TESTED: needs the kernel's list of options: ", err)
	}
	if !strings.Contains(string(text), "errors=remount-ro") {
		t.Errorf("mounted with:\n%s", text)
	}
}
