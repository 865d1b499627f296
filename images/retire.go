package images

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/images/foreign"
)

// retire deletes a tree. It is first renamed to a name that no listing shows,
// under a flock that keeps a sweep from deleting beside us: a tree that is half
// gone is never seen as an image, and a crash leaves only what a sweep removes.
func retire(ctx context.Context, trees *foreign.User, parent *os.File, file string) error {
	f, err := openEntry(parent, file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: somebody holds its flock", ErrBusy)
		}
		return err
	}
	if err := liftImmutable(parent, file); err != nil {
		return err
	}
	hidden, dir := tempName(tempRemove), int(parent.Fd())
	if err := unix.Renameat(dir, file, dir, hidden); err != nil {
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%w: it is a mount point", ErrBusy)
		}
		return fmt.Errorf("rename %s for removal: %w", file, err)
	}
	if err := parent.Sync(); err != nil {
		return fmt.Errorf("sync image directory: %w", err)
	}
	if err := RemoveEntry(ctx, trees, parent, hidden); err != nil {
		return fmt.Errorf("remove %s: %w", hidden, err)
	}
	return nil
}
