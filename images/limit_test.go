package images_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/images"
	"berth/images/btrfs"
)

func TestValidLimit(t *testing.T) {
	for bytes, want := range map[uint64]bool{0: true, 1 << 40: true, 1<<63 - 1: true, 1 << 63: false, images.NoLimit - 1: false, images.NoLimit: true} {
		if got := images.ValidLimit(bytes); got != want {
			t.Errorf("%d: %v", bytes, got)
		}
	}
}

// Quota is the administrator's: a limit that needs it says so and leaves it off.
func TestLimits(t *testing.T) {
	root := loopfs.Mount(t, "btrfs", 256)
	pool := filepath.Join(root, "var/lib/machines")
	check(t, os.MkdirAll(filepath.Dir(pool), 0o755))
	check(t, btrfs.CreateSubvolume(pool))
	check(t, btrfs.CreateSubvolume(filepath.Join(pool, "tree")))
	check(t, os.Mkdir(filepath.Join(pool, "plain"), 0o755))
	store := images.NewStore(images.SystemLocations(root))
	find := func(name string) images.Image {
		t.Helper()
		img, err := store.Find(t.Context(), images.ClassMachine, name)
		check(t, err)
		return img
	}
	limit := func(name string, bytes uint64, want error) {
		t.Helper()
		if err := store.SetLimit(t.Context(), find(name), bytes); !errors.Is(err, want) {
			t.Errorf("limit %s to %d: %v, want %v", name, bytes, err, want)
		}
	}
	limitPool := func(bytes uint64, want error) {
		t.Helper()
		if err := store.SetPoolLimit(t.Context(), images.ClassMachine, bytes); !errors.Is(err, want) {
			t.Errorf("limit pool to %d: %v, want %v", bytes, err, want)
		}
	}
	limit("tree", 1<<20, images.ErrNoQuota)
	limit("tree", images.NoLimit, nil)
	limit("plain", 1<<20, images.ErrNotSupported)
	limit("plain", images.NoLimit, images.ErrNotSupported)
	limit(images.HostName, 1<<20, images.ErrReadOnly)
	limitPool(1<<20, images.ErrNoQuota)
	limitPool(images.NoLimit, nil)
	if _, err := btrfs.ReadQuota(openDir(t, pool)); !errors.Is(err, btrfs.ErrNoQuota) {
		t.Fatalf("QUOTA WAS SWITCHED ON: %v", err)
	}
	if img := find("tree"); img.Usage != images.Unknown || img.Limit != images.Unknown {
		t.Errorf("without quota: %+v", img)
	}
	tool(t, "btrfs", "quota", "enable", root)
	tool(t, "btrfs", "quota", "rescan", "-w", root)
	limit("tree", 2<<20, nil)
	if err := os.WriteFile(filepath.Join(pool, "tree/big"), make([]byte, 4<<20), 0o600); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("beyond the limit: %v", err)
	}
	if img := find("tree"); img.Limit != 2<<20 || img.Usage == images.Unknown || img.UsageExclusive == images.Unknown {
		t.Errorf("with quota: %+v", img)
	}
	limit("tree", images.NoLimit, nil)
	if img := find("tree"); img.Limit != images.Unknown {
		t.Errorf("without limit: %+v", img)
	}
	limitPool(1<<20, images.ErrNoQuota) // nothing counts the images together
	tool(t, "btrfs", "qgroup", "create", "1/256", root)
	tool(t, "btrfs", "qgroup", "assign", "--no-rescan", "0/256", "1/256", root)
	tool(t, "btrfs", "qgroup", "assign", "--no-rescan", "0/257", "1/256", root)
	tool(t, "btrfs", "quota", "rescan", "-w", root)
	limitPool(64<<20, nil)
	if q, err := btrfs.ReadQuota(openDir(t, pool)); err != nil || q.ReferencedLimit != 64<<20 {
		t.Errorf("quota of the pool: %+v, %v", q, err)
	}
}

// A pool on another file system cannot be limited, whatever the limit.
func TestPoolLimitNeedsBtrfs(t *testing.T) {
	root := loopfs.Mount(t, "ext4", 32)
	check(t, os.MkdirAll(filepath.Join(root, "var/lib/machines"), 0o755))
	store := images.NewStore(images.SystemLocations(root))
	for _, bytes := range []uint64{1 << 20, images.NoLimit} {
		if err := store.SetPoolLimit(t.Context(), images.ClassMachine, bytes); !errors.Is(err, images.ErrNotSupported) {
			t.Errorf("%d: %v", bytes, err)
		}
	}
}

func openDir(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	t.Cleanup(func() { _ = f.Close() }) // only read
	return f
}

func tool(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}
