package images

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/copytree"
	"berth/images/foreign"
)

// directory keeps an image in a plain directory. Its mark for read-only is the
// immutable flag of the top directory.
type directory struct{}

var _ backend = directory{}

func (directory) facts(e entry, img *Image) error {
	img.ReadOnly = e.immutable()
	img.Created = e.created()
	return nil
}

func (directory) remove(ctx context.Context, trees *foreign.User, parent *os.File, file string) error {
	return retire(ctx, trees, parent, file)
}

func (directory) clone(ctx context.Context, trees *foreign.User, src Image, pool string, options CloneOptions) (*Pending, error) {
	return pendingCopy(ctx, pool, src.Path, trees, options)
}

func (directory) setReadOnly(path string, readOnly bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return copytree.SetImmutable(f, readOnly)
}

func (directory) suffix() string { return "" }
