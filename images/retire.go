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
func retire(ctx context.Context, trees *foreign.User, parent *os.File, file string) (err error) {
	f, err := openEntry(parent, file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := tryFlock(f); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: somebody holds its flock", ErrBusy)
		}
		return err
	}
	remove, done, err := remover(ctx, trees, parent, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
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
	if err := remove(ctx, hidden); err != nil {
		return fmt.Errorf("remove %s: %w", hidden, err)
	}
	return nil
}

// remover returns what removes a tree of that directory once it has another name. Where the host's services are needed
// for that, it has them already: an image must not be lost from sight and stay on the disk because they are missing.
func remover(ctx context.Context, trees *foreign.User, parent, tree *os.File) (remove func(ctx context.Context, name string) error, done func() error, err error) {
	others, err := foreign.Tree(tree)
	if err != nil {
		return nil, nil, err
	}
	if !others {
		remove = func(ctx context.Context, name string) error { return RemoveEntry(ctx, trees, parent, name) }
		return remove, func() error { return nil }, nil
	}
	empty, done, err := trees.Ready(ctx, tree)
	if err != nil {
		return nil, nil, err
	}
	remove = func(ctx context.Context, name string) error {
		if err := empty(ctx); err != nil {
			return err
		}
		return unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR)
	}
	return remove, done, nil
}
