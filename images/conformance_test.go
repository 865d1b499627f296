package images_test

import (
	"os"
	"testing"

	"berth/fixtures/loopfs"
	"berth/images/imagestest"
)

func TestConformance(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the immutable flag and loop filesystems need root")
	}
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			mount := loopfs.Mount(t, kind, loopfs.MinXFS)
			newRoot := func(t *testing.T) string {
				root, err := os.MkdirTemp(mount, "root")
				if err != nil {
					t.Fatal(err)
				}
				return root
			}
			for _, s := range imagestest.Subjects(kind == "btrfs") {
				t.Run(string(s.Type), func(t *testing.T) { imagestest.Run(t, newRoot, s) })
			}
		})
	}
}
