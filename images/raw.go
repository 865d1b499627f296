package images

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/images/foreign"
)

// raw keeps an image in a file that holds a whole disk.
type raw struct{}

var _ backend = raw{}

const writeBits = 0o222

func (raw) facts(e entry, img *Image) error {
	img.ReadOnly = e.stat.Mode&writeBits == 0
	img.Created = e.created()
	img.Modified = time.Unix(e.stat.Mtime.Sec, int64(e.stat.Mtime.Nsec))
	img.Usage, img.UsageExclusive = e.stat.Blocks*512, e.stat.Blocks*512
	img.Limit, img.LimitExclusive = e.stat.Size, e.stat.Size
	return nil
}

// remove needs no rename first: a file goes in one step.
func (raw) remove(_ context.Context, _ *foreign.User, parent *os.File, file string) error {
	if err := liftImmutable(parent, file); err != nil {
		return err
	}
	return unlink(parent, file)
}

func (raw) clone(ctx context.Context, trees *foreign.User, src Image, pool string, options CloneOptions) (*Pending, error) {
	return pendingCopy(ctx, pool, src.Path, trees, options)
}

func (raw) setReadOnly(path string, readOnly bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	mode := info.Mode().Perm() & 0o444
	if !readOnly {
		mode |= 0o200
	}
	return os.Chmod(path, mode)
}

func (raw) suffix() string { return suffixRaw }

// unlink removes a name that is no directory.
func unlink(parent *os.File, file string) error {
	if err := unix.Unlinkat(int(parent.Fd()), file, 0); err != nil {
		return fmt.Errorf("unlink %s: %w", file, err)
	}
	return nil
}
