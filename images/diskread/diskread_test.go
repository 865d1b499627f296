package diskread_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"berth/fixtures/diskimage"
	"berth/images"
	"berth/images/diskread"
	"berth/images/partition"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == diskread.Name {
		os.Exit(diskread.Main())
	}
	// With the race detector a process sleeps for a second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

const (
	release  = "etc/os-release"
	hostname = "etc/hostname"
)

// tree makes a small tree, with an os-release that is a link as on most systems.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"etc", "usr/lib"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{"usr/lib/os-release": "ID=test\n", hostname: "inside\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../usr/lib/os-release", filepath.Join(dir, release)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// disk makes a disk with an ext4 of the tree, in a partition or over all of it.
func disk(t *testing.T, tree string, table bool) string {
	t.Helper()
	needLoops(t)
	path := filepath.Join(t.TempDir(), "disk")
	offset, err := diskimage.Create(path, table)
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "mke2fs", "-q", "-t", "ext4", "-E", "offset="+strconv.Itoa(offset), "-d", tree, path, "24M")
	return path
}

func needLoops(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("NOT TESTED: needs loop devices: ", err)
	}
}

func tool(t *testing.T, argv ...string) {
	t.Helper()
	program, err := exec.LookPath(argv[0])
	if err != nil {
		t.Skip("NOT TESTED: needs ", argv[0])
	}
	if out, err := exec.CommandContext(t.Context(), program, argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

func read(t *testing.T, path string, files ...string) (map[string][]byte, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(files) == 0 {
		files = []string{release, hostname, "etc/none"}
	}
	return diskread.Reader{}.Read(t.Context(), f, files...)
}

func wantTree(t *testing.T, path string) {
	t.Helper()
	files, err := read(t, path)
	if errors.Is(err, unix.ENODEV) {
		t.Skip("NOT TESTED: needs a kernel with the file system: ", err)
	}
	if err != nil || string(files[release]) != "ID=test\n" || string(files[hostname]) != "inside\n" || len(files) != 2 {
		t.Errorf("%s: %q, %v", filepath.Base(path), files, err)
	}
	noLoopOf(t, path)
}

// noLoopOf makes sure that no loop device is left on a disk.
func noLoopOf(t *testing.T, path string) {
	t.Helper()
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range backing {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == path {
			t.Errorf("%s is bound still", file)
		}
	}
}

func TestRead(t *testing.T) {
	dir := tree(t)
	for name, table := range map[string]bool{"whole": false, "partition": true} {
		t.Run(name, func(t *testing.T) { wantTree(t, disk(t, dir, table)) })
	}
	for kind, argv := range map[string][]string{
		"squashfs": {"mksquashfs", dir, "PATH", "-quiet", "-no-progress"},
		"erofs":    {"mkfs.erofs", "--quiet", "PATH", dir},
		"btrfs":    {"mkfs.btrfs", "-q", "--rootdir", dir, "PATH"},
	} {
		t.Run(kind, func(t *testing.T) {
			needLoops(t)
			path := filepath.Join(t.TempDir(), "disk")
			if kind == "btrfs" {
				if _, err := diskimage.Create(path, false); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, 128<<20); err != nil {
					t.Fatal(err)
				}
			}
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "PATH", path)
			}
			tool(t, argv...)
			wantTree(t, path)
		})
	}
}

// What is planted in an image does not lead to files of the host.
func TestReadStaysInside(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("ID=LEAK\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"absolute": secret, "relative": strings.Repeat("../", 20) + secret, "proc": "/proc/self/root" + secret, "loop": "os-release",
	} {
		t.Run(name, func(t *testing.T) {
			dir, usr := tree(t), usrOf(t, "usr")
			planted := []string{release, hostname, "etc/machine-id", "etc/machine-info", "etc/passwd"}
			for _, file := range planted {
				plant(t, filepath.Join(dir, file), target)
			}
			plant(t, filepath.Join(usr, "lib/os-release"), target)
			path := partitioned(t, 512, part{partition.RootType(), dir}, part{partition.UsrType(), usr})
			for _, path := range []string{path, disk(t, dir, false)} {
				if files, err := read(t, path, planted...); err != nil || len(files) != 0 {
					t.Errorf("HOST DATA LEAKED: %q, %v", files, err)
				}
			}
			if files, err := read(t, path, vendor); err != nil || len(files) != 0 {
				t.Errorf("HOST DATA LEAKED: %q, %v", files, err)
			}
		})
	}
}

// plant puts a link into the place of a file.
func plant(t *testing.T, path, target string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(path), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
}

func TestUnreadableDisks(t *testing.T) {
	needLoops(t)
	for name, make := range map[string]func(path string) error{
		"empty": func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"zeros": func(p string) error { return os.Truncate(create(p), 1<<20) },
		"LUKS": func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("LUKS\xba\xbe"), 0o644), os.Truncate(p, 1<<20))
		},
		"no root":  func(p string) error { return os.WriteFile(p, append(diskimage.GPT(), 0), 0o644) },
		"bad ext4": func(p string) error { return badExt4(p) },
	} {
		path := filepath.Join(t.TempDir(), "disk")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if files, err := read(t, path); !errors.Is(err, images.ErrNotSupported) || !errors.Is(err, diskread.ErrUnreadable) {
			t.Errorf("%s: %q, %v", name, files, err)
		}
		noLoopOf(t, path)
	}
}

func create(path string) string {
	_ = os.WriteFile(path, nil, 0o644) // what follows fails then
	return path
}

// badExt4 has the magic number of the file system and nothing else.
func badExt4(path string) error {
	disk := make([]byte, 1<<20)
	disk[1024+56], disk[1024+57] = 0x53, 0xef
	return os.WriteFile(path, disk, 0o644)
}

func TestReadEndsWithItsContext(t *testing.T) {
	path := disk(t, tree(t), false)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if files, err := (diskread.Reader{}).Read(ctx, f, release); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", files, err)
	}
	noLoopOf(t, path)
}
