package images_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fixtures/loopfs"
	"berth/images"
)

// What is copied is told, of a disk with how much there is; nothing is where blocks are shared.
func TestCloneProgress(t *testing.T) {
	const data = 20 << 20
	for _, test := range []struct {
		kind, image   string
		copied, total int64
	}{
		{"ext4", "tree", data, 0},
		{"ext4", "disk", data, data},
		{"btrfs", "tree", 0, 0},
		{"btrfs", "disk", 0, 0},
	} {
		t.Run(test.kind+" "+test.image, func(t *testing.T) {
			root := loopfs.Mount(t, test.kind, loopfs.MinXFS)
			pool := filepath.Join(root, "var/lib/machines")
			check(t, os.MkdirAll(filepath.Join(pool, "tree"), 0o755))
			for _, file := range []string{"tree/file", "disk.raw"} {
				path := filepath.Join(pool, file)
				check(t, os.WriteFile(path, make([]byte, data), 0o644))
				check(t, unix.Truncate(path, 2*data)) // the rest is a hole
			}
			store := images.NewStore(images.SystemLocations(root))
			image, err := store.Find(t.Context(), images.ClassMachine, test.image)
			check(t, err)
			var last int64
			check(t, store.Clone(t.Context(), image, "copy", images.CloneOptions{Progress: func(copied, total int64) {
				if copied <= last || total != test.total {
					t.Errorf("%d bytes of %d are copied after %d, want of %d", copied, total, last, test.total)
				}
				last = copied
			}}))
			if last != test.copied {
				t.Errorf("%d bytes were copied, want %d", last, test.copied)
			}
		})
	}
}
